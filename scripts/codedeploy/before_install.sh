#!/bin/bash
# Prepares the server for a release and copies the data of the one that serves.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/volume.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/volume.sh"

account() {
  make_account
  point /usr/local/bin/ec-deployer "$ROOT/current/scripts/site.sh"
}

volume() {
  local id device
  id=$(setting "$SETTINGS/server.env" DATA_VOLUME)
  if [[ -z $id ]]; then
    echo "The data is on the server's own disk: DATA_VOLUME is not set in $SETTINGS/server.env."
    return
  fi
  device=$(device_of "$id")
  mount_data "$device" "$DATA"
  make_account
}

before() {
  settle
}

# Room for the bundle, the release that is made of it and the copy of the data.
room() {
  local free needed
  rm -rf "$ROOT/incoming"
  needed=$(find "$DATA" -maxdepth 1 -name '*.db' -printf '%k\n' | awk '{ sum += $1 } END { print sum * 2 + 500000 }')
  free=$(df -k --output=avail "$DATA" | tail -n 1)
  if ((free < needed)); then
    cure "The disk of $DATA has $((free / 1024)) MB free, and a release needs $((needed / 1024)) MB for the copy and the" \
      "rehearsal: enlarge the volume, or move what is in $DATA/backups elsewhere."
  fi
}

copy() {
  if [[ ! -x $ROOT/current/ec-deployer ]]; then
    echo "No release serves yet: there is nothing to copy."
    return
  fi
  "$ROOT/current/scripts/site.sh" backup "$DATA/backups/" --keep "$KEPT_COPIES"
}

hook account volume before room copy
