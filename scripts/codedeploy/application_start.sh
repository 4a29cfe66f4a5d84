#!/bin/bash
# Puts the release in the place of the one that serves.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/front.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/front.sh"

# The address by which others reach this server.
address() {
  local found
  found=$(own_address)
  if [[ -z $found ]]; then cure "The address of this server cannot be told."; fi
  put "$SETTINGS/address" <<<"$found"
  echo "This server is at $found."
}

switch() {
  if [[ $(readlink "$ROOT/current") == "$RELEASE" ]]; then
    if asked_directly 2>/dev/null | is_release "$DEPLOYMENT" "$(version_of "$RELEASE")" 2>/dev/null; then
      echo "$DEPLOYMENT serves already."
      return
    fi
  else
    settle
    leave_current
  fi
  switch_to "$RELEASE"
}

# nginx after the site: at the first deployment nobody is to see its error.
front() {
  write_front
}

# Where the name does not lead here yet, the site is served as before, which it tells its admins where that is http; a
# timer tries again.
secure() {
  secure_front || echo "The site is served as it was before, for now."
}

# A copy of the data goes to the bucket every night.
backups() {
  if [[ -z $(setting "$SETTINGS/server.env" BACKUP_BUCKET) ]]; then
    echo "BACKUP_BUCKET is not set in $SETTINGS/server.env: the data is copied to this server alone, before each release."
    systemctl -q disable --now ec-deployer-backup.timer 2>/dev/null || true
    return
  fi
  put /etc/systemd/system/ec-deployer-backup.service <<'UNIT'
[Unit]
Description=Copies the site's data to its bucket
[Service]
Type=oneshot
EnvironmentFile=/etc/ec-deployer/server.env
ExecStart=/opt/ec-deployer/current/scripts/site.sh backup s3://${BACKUP_BUCKET}/backups/ --keep 30
UNIT
  put /etc/systemd/system/ec-deployer-backup.timer <<'UNIT'
[Unit]
Description=Copies the site's data to its bucket every night
[Timer]
OnCalendar=*-*-* 03:00:00 UTC
RandomizedDelaySec=30min
Persistent=true
[Install]
WantedBy=timers.target
UNIT
  systemctl daemon-reload
  systemctl -q enable --now ec-deployer-backup.timer
}

undo() {
  go_back
}

hook address switch front secure backups
