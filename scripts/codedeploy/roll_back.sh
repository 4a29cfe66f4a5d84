#!/bin/bash
# Puts an earlier release of this server in the place of the one that serves, without CodeDeploy: `roll_back.sh` lists
# them, `roll_back.sh RELEASE` does it. The data stays: an older program starts on a newer schema. The next deployment
# goes on from there.

if [[ $EUID -ne 0 ]]; then
  echo "This needs root: put sudo before it." >&2
  exit 77
fi
if [[ -z ${1:-} ]]; then
  serving=$(basename -- "$(readlink /opt/ec-deployer/current)")
  find /opt/ec-deployer/releases -mindepth 1 -maxdepth 1 -type d -printf '%T@ %TF %.8TT %f\n' | sort -rn |
    while read -r _ date time release; do
      version=$("/opt/ec-deployer/releases/$release/ec-deployer" --version) || version='does not run'
      if [[ $release == "$serving" ]]; then note='  serves now'; else note=''; fi
      echo "$release  $date $time UTC  ${version##* }$note"
    done
  echo "usage: roll_back.sh RELEASE"
  exit 0
fi
DEPLOYMENT_ID=$1
# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/front.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/front.sh"

there() {
  if [[ ! -x $RELEASE/ec-deployer ]]; then cure "There is no release $DEPLOYMENT on this server."; fi
}

switch() {
  settle
  point "$ROOT/before" "$(readlink "$ROOT/current")"
  switch_to "$RELEASE"
}

answers() {
  asked_through_nginx /healthz | is_release "$DEPLOYMENT" "$(version_of "$RELEASE")"
  rm -f "$ROOT/before"
}

undo() {
  go_back
}

hook there switch answers
