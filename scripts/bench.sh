#!/usr/bin/env bash
# Measures the site and prints Markdown, which docs/performance.md has from one run: how long the sample takes from
# the form and from Redeploy, what the pages cost, resident memory, and what 1,000 machines on EC2 cost in requests. It
# wants an otherwise idle host.
#
# EC_BENCH_RUNS deployments of each kind (5), EC_BENCH_SECONDS for each page (5).
set -euo pipefail
cd "$(dirname "$0")/.."

as_root=()
[[ $EUID -eq 0 ]] || as_root=(--config "target.'cfg(unix)'.runner = ['sudo', '-E']")

./scripts/setup.sh bench
echo "$(nproc) cores, $(uname -sr), $(rustc --version)"
echo
cargo bench --quiet --locked "${as_root[@]}" --bench deployments
cargo bench --quiet --locked "${as_root[@]}" --bench pages
cargo bench --quiet --locked --bench fleet
