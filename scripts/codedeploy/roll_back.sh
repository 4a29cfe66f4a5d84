#!/bin/bash
# Puts an earlier release of this server in the place of the one that serves, without CodeDeploy: `roll_back.sh` lists
# them, `roll_back.sh RELEASE` does it, `roll_back.sh previous` goes back by one. The data stays: an older program starts
# on a newer schema. The next deployment goes on from there.

if [[ $EUID -ne 0 ]]; then
  echo "This needs root: put sudo before it." >&2
  exit 77
fi
serving=$(basename -- "$(readlink /opt/ec-deployer/current)")
if [[ -z $serving ]]; then
  echo "No release serves on this server." >&2
  exit 1
fi
DEPLOYMENT_ID=${1:-$serving}
# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/front.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/front.sh"

# A line for each release that was validated: when, its version, and which one serves.
list() {
  local release note version
  validated_releases | while read -r release; do
    version=$(version_of "$ROOT/releases/$release") || version='does not run'
    if [[ $release == "$serving" ]]; then note='  serves now'; else note=''; fi
    echo "$release  $(date -u -r "$ROOT/releases/$release/validated" '+%F %T') UTC  $version$note"
  done
}

there() {
  if [[ ! -e $RELEASE/validated ]]; then
    cure "There is no release $DEPLOYMENT on this server that has served."
  fi
}

switch() {
  settle
  leave_current
  switch_to "$RELEASE"
  front_of "$RELEASE"
}

answers() {
  asked_through_nginx /healthz | is_release "$DEPLOYMENT" "$(version_of "$RELEASE")"
  rm -f "$ROOT/before"
}

undo() {
  go_back
}

case ${1:-} in
  '')
    list
    echo "usage: roll_back.sh RELEASE|previous"
    exit
    ;;
  previous)
    # The one that was validated before the one that serves.
    DEPLOYMENT=$(validated_releases | awk -v serving="$serving" 'found { print; exit } $0 == serving { found = 1 }')
    if [[ -z $DEPLOYMENT ]]; then
      echo "There is no release before $serving on this server." >&2
      exit 1
    fi
    RELEASE=$ROOT/releases/$DEPLOYMENT
    ;;
esac
hook there switch answers
