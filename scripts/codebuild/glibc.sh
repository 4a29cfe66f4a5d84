#!/usr/bin/env bash
# glibc.sh BINARY VERSION: fails where BINARY asks for a newer glibc than VERSION, which is what the server has.
set -euo pipefail

binary=$1
server=$2

# A need that is marked weak holds nobody up: the program looks whether it is met.
needs=$(LC_ALL=C readelf --wide --version-info "$binary" |
    sed -nE '/Flags: WEAK/d; s/.*Name: GLIBC_([0-9][0-9.]*) .*/\1/p' | sort --version-sort --unique)
if [[ -z $needs ]]; then
    echo "$binary names no version of glibc: it is no program that is linked with one." >&2
    exit 1
fi
newest=${needs##*$'\n'}
if [[ $(printf '%s\n' "$newest" "$server" | sort --version-sort | tail -n1) != "$server" ]]; then
    echo "$binary needs glibc $newest, and the server has $server: build it on what the server runs." >&2
    exit 1
fi
echo "$binary needs glibc $newest, and the server has $server."
