#!/usr/bin/env bash
# What needs neither privileges nor machines nor a browser, for scripts/test.sh and for CodeBuild: `check.sh code`
# looks at the scripts and the code, `check.sh tests LOG` runs the tests and writes what they print to LOG besides.
set -euo pipefail
cd "$(dirname "$0")/.."

check() {
    echo "== $*"
    "$@"
}

case $* in
code)
    # CodePipeline hands over the files of a commit without their repository, so git cannot list them.
    mapfile -t scripts < <(find . \( -path ./target -o -path ./.git \) -prune -o -name '*.sh' -print | sort)
    check shellcheck --external-sources "${scripts[@]}" .ci/run
    check cargo fmt --check
    check cargo clippy --quiet --locked --all-targets -- -D warnings
    check ./scripts/sqlx.sh --check
    ;;
'tests '?*)
    failed=0
    check cargo test --locked --no-fail-fast --lib --bins --test site 2>&1 | tee "$2" || failed=1
    # These mostly wait.
    check cargo test --locked --test ec2 -- --test-threads=8 2>&1 | tee -a "$2" || failed=1
    exit "$failed"
    ;;
*)
    echo "usage: check.sh code|tests LOG" >&2
    exit 2
    ;;
esac
