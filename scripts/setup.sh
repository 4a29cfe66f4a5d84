#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that are missing: `setup.sh run` for the site with machines on this
# host, `setup.sh test` for all checks and tests besides, `setup.sh bench` for the measurements. Does nothing,
# quickly, where all is there.
set -euo pipefail

run=(
    build-essential # C compiler: SQLite is built into the program
    ca-certificates git
    mmdebstrap systemd-container iproute2 iptables util-linux # local machines
)

# Ubuntu's chromium packages only lead to a snap, which wants a running snapd.
browser() {
    if apt-cache show chromium-driver >/dev/null 2>&1; then
        echo chromium chromium-driver
    else
        echo chromium-browser chromium-chromedriver
    fi
}

as_root() {
    if [[ $EUID -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

missing() {
    local package
    for package in "$@"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
    done
}

command -v apt-get >/dev/null || {
    echo "This needs Debian or Ubuntu: apt-get is not here." >&2
    exit 1
}
command -v cargo >/dev/null || {
    echo "This needs Rust: see https://rustup.rs, then start it again." >&2
    exit 1
}

case ${1:-run} in
run) packages=("${run[@]}") ;;
test)
    packages=("${run[@]}" shellcheck sqlite3)
    if ! command -v chromedriver >/dev/null; then
        as_root apt-get update -qq
        read -ra found <<<"$(browser)"
        packages+=("${found[@]}")
    fi
    ;;
bench) packages=("${run[@]}" sqlite3 wrk) ;;
*)
    echo "usage: setup.sh run|test|bench" >&2
    exit 2
    ;;
esac

mapfile -t wanted < <(missing "${packages[@]}")
if [[ ${#wanted[@]} -gt 0 ]]; then
    echo "installing: ${wanted[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${wanted[@]}" >/dev/null
fi
