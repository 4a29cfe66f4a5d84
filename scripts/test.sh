#!/usr/bin/env bash
# Every check and every test, those on real machines and in a real browser included. It installs what they
# need, and ends with the counts and the ids of the machines that it booted. With `--all` it deploys those kinds
# of repositories too that take long or are seldom.
set -euo pipefail
cd "$(dirname "$0")/.."

case $* in
'') ;;
--all) export EC_TEST_ALL=1 ;;
*)
    echo "usage: ./scripts/test.sh [--all]" >&2
    exit 2
    ;;
esac

# Machines need root: where we are not, their test binary alone runs by sudo.
as_root=()
[[ $EUID -eq 0 ]] || as_root=(--config "target.'cfg(unix)'.runner = ['sudo', '-E']")

./scripts/setup.sh test

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export EC_TEST_MACHINES=$scratch/machines

./scripts/check.sh code

failed=0
./scripts/check.sh tests "$scratch/log" || failed=1
# The rest of a kind each: what wants a browser, and what wants machines.
run() {
    echo "== $*"
    "$@" 2>&1 | tee -a "$scratch/log" || failed=1
}
run cargo test --locked --test browser
# One at a time: a machine that boots and deploys keeps two cores busy.
run cargo test --locked "${as_root[@]}" --test machines -- --test-threads=1

echo
echo "machines booted: $(sort -u "$EC_TEST_MACHINES" 2>/dev/null | paste -sd' ' || true)"
awk -v failed="$failed" '
    /^test result:/ { passed += $4; lost += $6; ignored += $8 }
    END {
        if (ignored > 0) print ignored " tests were ignored, and none may be"
        printf "%d passed, %d failed\n", passed, lost
        exit failed || lost > 0 || ignored > 0 || passed == 0
    }' "$scratch/log"
