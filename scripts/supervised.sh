#!/bin/bash
# What supervisor runs for each of its two processes: 0 holds the socket, which is its standard input, as long as the
# server is up; 1 is the site.
set -euo pipefail
case ${1:-} in
  0) exec sleep infinity ;;
  1) exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/site.sh" serve ;;
  *)
    echo "usage: supervised.sh 0|1" >&2
    exit 64
    ;;
esac
