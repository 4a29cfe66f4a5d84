#!/bin/bash
# Prepares the server for a release and copies the data of the one that serves.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/volume.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/volume.sh"

# CodeDeploy's agent may be up before the user data has said where the data and the settings are.
told() {
  if ! on_ec2; then return; fi
  timeout 300 cloud-init status --wait >/dev/null || true
  if [[ ! -e $SETTINGS/server.env ]]; then
    cure "There is no $SETTINGS/server.env, which the server's user data writes: /var/log/cloud-init-output.log says why."
  fi
}

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
  # Of a server before this one, where the site's user had another number.
  if [[ -e $DATA/deployer.db && $(stat -c %U "$DATA/deployer.db") != ec-deployer ]]; then
    chown -hR ec-deployer:ec-deployer "$DATA"
  fi
}

before() {
  settle
}

# Room for the bundle and the release that is made of it, and for the copy of the data, its rehearsal and its archive.
room() {
  local copies
  rm -rf "$ROOT/incoming"
  copies=$(find "$DATA" -maxdepth 1 -name '*.db' -printf '%k\n' | awk '{ sum += $1 } END { print sum * 3 + 100000 }')
  has_room "$ROOT" 500000 "make room, by apt-get clean and journalctl --vacuum-size=100M, say, or enlarge the disk."
  has_room "$DATA" "$copies" "enlarge the volume, or move what is in $DATA/backups elsewhere."
}

# Whether the disk of a directory has so much free: `has_room DIRECTORY KIB CURE`.
has_room() {
  local free
  free=$(df -k --output=avail "$1" | tail -n 1)
  if ((free < $2)); then
    cure "The disk of $1 has $((free / 1024)) MB free, and a release needs $(($2 / 1024)) MB there: $3"
  fi
}

copy() {
  if [[ ! -x $ROOT/current/ec-deployer ]]; then
    echo "No release serves yet: there is nothing to copy."
    return
  fi
  "$ROOT/current/scripts/site.sh" backup "$DATA/backups/" --keep "$KEPT_COPIES"
}

hook told account volume before room copy
