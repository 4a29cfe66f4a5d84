#!/usr/bin/env bash
# Builds the site and runs it at http://127.0.0.1:8000 with machines on this host, or with CLOUD=ec2 in an account of
# AWS. Settings are environment variables, listed in the README; arguments go to `ec-deployer serve`.
set -euo pipefail
cd "$(dirname "$0")/.."

export CLOUD=${CLOUD:-local}
program=${CARGO_TARGET_DIR:-target}/debug/ec-deployer

if [[ $CLOUD == ec2 ]]; then
    # Only packages that are missing need root, and none of those of local machines; the state is in the person's own directory.
    # The AWS SDK takes minutes to compile the first time, and 8 GB of memory.
    ./scripts/setup.sh ec2
    cargo build --locked --bin ec-deployer
    [[ $EUID -eq 0 ]] || export STATE_DIR=${STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/ec-deployer}
    exec "$program" serve "$@"
fi

./scripts/setup.sh run
# Without what only EC2 needs, which takes minutes to compile.
cargo build --locked --no-default-features --bin ec-deployer

if [[ $EUID -eq 0 ]]; then
    exec "$program" serve "$@"
fi
# Machines need root. Only the site's own settings, and what git needs to reach a repository, go along.
echo "Machines on this host need root: sudo may ask for your password."
exec sudo --preserve-env=LISTEN,PUBLIC_URL,CALLBACK_URL,DATABASE_URL,STATE_DIR,CLOUD,GIT_HOSTS,TRUSTED_PROXIES,LOCAL_BRIDGE,LOCAL_SUBNET,PARALLEL_LAUNCHES,RUST_LOG,http_proxy,https_proxy,no_proxy,SSL_CERT_FILE,GIT_SSL_CAINFO \
    "$program" serve "$@"
