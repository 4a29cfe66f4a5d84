#!/bin/bash
# Runs the program of the release that this script is in, with the server's settings and as the user of the site:
# supervisor keeps `site.sh serve`, and people type `ec-deployer user list`, a link that leads here.
#
# EC_SETTINGS is a file of settings instead of /etc/ec-deployer/site.env, EC_STATE_DIR a state directory of which the
# database is used whatever the settings say: a release is rehearsed so.
set -euo pipefail

scripts=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
release=$(dirname -- "$scripts")

# As the user of the site, whoever asks: what root makes in the state directory the site could not read. Of root's
# environment nothing goes along but what is said above.
if [[ $EUID -eq 0 ]]; then
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM="${TERM:-dumb}" \
    EC_SETTINGS="${EC_SETTINGS:-}" EC_STATE_DIR="${EC_STATE_DIR:-}" \
    setpriv --reuid=ec-deployer --regid=ec-deployer --init-groups --inh-caps=-all -- "$scripts/site.sh" "$@"
fi

# Lines of NAME=value become the environment. Nothing of a value is looked at: no quotes, no `$`.
read_settings() {
  local line
  [[ -e $1 ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ $line =~ ^[A-Z][A-Z0-9_]*= ]]; then export "${line?}"; fi
  done <"$1"
}

read_settings /etc/ec-deployer/server.env
read_settings "${EC_SETTINGS:-/etc/ec-deployer/site.env}"
export HOME=/var/lib/ec-deployer LC_ALL=C.UTF-8
export STATE_DIR=${EC_STATE_DIR:-/var/lib/ec-deployer}
if [[ -n ${EC_STATE_DIR:-} ]]; then unset DATABASE_URL; fi
RELEASE=$(basename -- "$release")
export RELEASE
if [[ -z ${PUBLIC_URL:-} ]]; then
  # As nginx serves it, which may still be by the name that it had before.
  if [[ -s /etc/ec-deployer/secured ]]; then
    PUBLIC_URL=https://$(cat /etc/ec-deployer/secured)
    export PUBLIC_URL
  elif [[ -s /etc/ec-deployer/address ]]; then
    PUBLIC_URL=http://$(cat /etc/ec-deployer/address)
    export PUBLIC_URL
  fi
fi
if [[ ${1:-} == serve ]]; then
  # The socket is supervisor's, and who asks on it is nginx.
  export LISTEN=stdin TRUSTED_PROXIES=${TRUSTED_PROXIES:-127.0.0.1}
fi
cd /
exec "$release/ec-deployer" "$@"
