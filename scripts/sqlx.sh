#!/usr/bin/env bash
# Makes .sqlx anew: what the database says of every query in the code, which builds are checked against.
# With --check it changes nothing and fails where .sqlx is not what the code and the migrations make.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for migration in migrations/*.sql; do
    sqlite3 -bail "$scratch/schema.db" <"$migration"
done
mkdir "$scratch/queries"
# Only a fresh expansion of the macros writes their files, so the crate is compiled once more, in a target of
# its own that shares nothing but the dependencies.
touch src/lib.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$scratch/queries" DATABASE_URL="sqlite://$scratch/schema.db" \
    cargo check --quiet --locked --lib
touch src/lib.rs

if [[ ${1:-} == --check ]]; then
    diff -r "$scratch/queries" .sqlx >/dev/null || {
        echo "The checked queries in .sqlx are not current: run ./scripts/sqlx.sh and commit what it makes." >&2
        exit 1
    }
    echo "checked queries: $(find .sqlx -name '*.json' | wc -l), current"
else
    rm -rf .sqlx
    mv "$scratch/queries" .sqlx
    echo "checked queries: $(find .sqlx -name '*.json' | wc -l)"
fi
