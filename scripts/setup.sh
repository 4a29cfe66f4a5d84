#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that are missing: `setup.sh run` for the site with machines on this
# host, `setup.sh ec2` for the site alone, `setup.sh build` for the checks and tests that need no privileges besides,
# `setup.sh test` for all of them, `setup.sh bench` for the measurements. Does nothing, quickly, where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

# What looks for barriers in the pages: one script that the tests run in the browser. Pinned by its content.
axe_version=4.14.1
axe_sha512=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
axe=${CARGO_TARGET_DIR:-target}/axe-$axe_version/axe.min.js

# What answers as AWS does in the tests, AWS's own command line, and what knows each resource of CloudFormation. A
# virtual environment's programs hold its path, so that it is made where it stays; the mark says of what it is made.
moto_version=5.2.5
moto=${CARGO_TARGET_DIR:-target}/moto-$moto_version
aws_tools=("moto[server,cloudformation,ec2,ssm,iam,sts,s3]==$moto_version" awscli==1.46.3 cfn-lint==1.58.0)

site=(
    build-essential # C compiler: SQLite is built into the program
    ca-certificates git
)
run=(
    "${site[@]}"
    mmdebstrap systemd-container iproute2 iptables util-linux # local machines
)

checks=(shellcheck sqlite3)

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

fetch_axe() {
    local archive
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    archive=$(npm pack --silent --ignore-scripts --pack-destination "$scratch" "axe-core@$axe_version")
    echo "$axe_sha512  $scratch/$archive" | sha512sum --check --quiet
    mkdir -p "${axe%/*}"
    tar -xzOf "$scratch/$archive" package/axe.min.js >"$axe.new"
    mv "$axe.new" "$axe"
}

# One from another build's cache may stand on a Python that is gone.
have_moto() {
    [[ $(cat "$moto/.complete" 2>/dev/null) == "${aws_tools[*]}" ]] && "$moto/bin/python" -c '' 2>/dev/null
}

install_moto() {
    rm -rf "$moto"
    mkdir -p "${moto%/*}"
    python3 -m venv "$moto"
    "$moto/bin/python" -m pip install --quiet --disable-pip-version-check "${aws_tools[@]}"
    "$moto/bin/python" -c 'import cfnlint, moto.server
import moto.cloudformation.models, moto.ec2.models, moto.iam.models, moto.s3.models, moto.ssm.models, moto.sts.models'
    echo "${aws_tools[*]}" >"$moto/.complete"
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
ec2) packages=("${site[@]}") ;;
build) packages=("${site[@]}" "${checks[@]}") ;;
test)
    packages=("${run[@]}" "${checks[@]}")
    if ! command -v chromedriver >/dev/null; then
        as_root apt-get update -qq
        read -ra found <<<"$(browser)"
        packages+=("${found[@]}")
    fi
    if [[ ! -e $axe ]] && ! command -v npm >/dev/null; then packages+=(npm); fi
    ;;
bench) packages=("${run[@]}" sqlite3 wrk) ;;
*)
    echo "usage: setup.sh run|ec2|build|test|bench" >&2
    exit 2
    ;;
esac

case ${1:-run} in
build | test | bench)
    # A Python from elsewhere has what Debian's splits off.
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    ;;
esac

mapfile -t wanted < <(missing "${packages[@]}")
if [[ ${#wanted[@]} -gt 0 ]]; then
    echo "installing: ${wanted[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=300 "${wanted[@]}" >/dev/null
fi

if [[ ${1:-run} == test && ! -e $axe ]]; then
    echo "fetching: axe-core $axe_version"
    fetch_axe
fi

if [[ ${1:-run} =~ ^(build|test|bench)$ ]] && ! have_moto; then
    echo "fetching: ${aws_tools[*]}"
    install_moto
fi
