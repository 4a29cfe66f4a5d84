#!/usr/bin/env bash
# Brings rustup where it is missing, pinned by its content, and by it the toolchain that rust-toolchain.toml names,
# whose parts rustup checks against the digests of their release.
set -euo pipefail
cd "$(dirname "$0")/../.."

rustup_version=1.28.2
case $(uname -m) in
x86_64) sha256=20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c ;;
aarch64) sha256=e3853c5a252fca15252d07cb23a1bdd9377a8c6f3efa01531109281ae47f841c ;;
*)
    echo "There is no pinned rustup for $(uname -m)." >&2
    exit 1
    ;;
esac

if ! command -v rustup >/dev/null; then
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    curl --proto '=https' --tlsv1.2 --silent --show-error --fail --retry 5 --output "$scratch/rustup-init" \
        "https://static.rust-lang.org/rustup/archive/$rustup_version/$(uname -m)-unknown-linux-gnu/rustup-init"
    echo "$sha256  $scratch/rustup-init" | sha256sum --check --quiet
    chmod +x "$scratch/rustup-init"
    "$scratch/rustup-init" -y --no-modify-path --profile minimal --default-toolchain none
fi

# Asked like this, rustup answers for what is there and installs nothing.
if ! RUSTUP_AUTO_INSTALL=0 cargo clippy --version || ! RUSTUP_AUTO_INSTALL=0 cargo fmt --version; then
    rustup toolchain install
fi
rustc --version
