#!/bin/bash
# Puts one commit of a Django project on this machine: one deployment, with the steps of its log.
# Before it come a block of values (EC_…), the library of steps, the programs that keep its log, and what its steps are
# made of: machine.sh, python.sh, project.sh, nginx.sh and releases.sh.
#
# A release has its own code, static files and processes; an environment serves every release with the same
# dependencies. `current` is the release that serves, `next` the one that was checked last: the same, but while a
# deployment is under way. nginx and supervisor reach all of a release through these two links, so that moving
# `current` is all there is to a deployment, and no process of nginx's, old or new, knows a release by its number.

STATE=/var/lib/ec-deployer
RELEASE=/srv/app/releases/$EC_DEPLOYMENT

environment() {
  local begun needed
  # Numbers grow over the whole site: one that comes late must not take the place of a newer one.
  for begun in "$STATE"/begun/*; do
    if ((${begun##*/} > EC_DEPLOYMENT)); then
      echo "Deployment ${begun##*/} is newer than this one, and began before it."
      return 1
    fi
  done
  for needed in uv nginx supervisorctl nft git; do
    if ! command -v "$needed" >/dev/null; then
      echo "The image has no $needed: GOLDEN_AMI must be an image that the site has baked."
      return 1
    fi
  done
  python3 -IS "$EC_LIB/machine.py" environment "$EC_DEPLOYMENT" "$EC_PROGRAMS"
  make_secret secret_key
  make_secret database_password
  if [[ $(readlink /srv/app/next) != "$PREVIOUS" ]]; then
    # The deployment before this one was killed.
    python3 -IS "$EC_LIB/machine.py" settle
    supervisorctl update || true
  fi
  python3 -IS "$EC_LIB/machine.py" address
  cat /etc/ec-deployer/hosts
  if ! nft -f /etc/ec-deployer/metadata.nft; then
    echo "This machine cannot keep the project from the metadata service: nftables does not work on it."
    if on_ec2; then return 1; fi
  fi
  rm -rf "$RELEASE"
  install -d -m 755 "$RELEASE" "$RELEASE/overlay" "$ENVIRONMENTS"
  # Each release keeps the variables that it was deployed with: the one before may have to start again.
  mv -f /etc/ec-deployer/app.env "$RELEASE/app.env"
  install -d -m 755 -o app -g app "$RELEASE"/{repo,static,before}
  ln -s "/run/ec-deployer/$EC_DEPLOYMENT.sock" "$RELEASE/socket"
  if [[ -n $EC_LIST ]]; then python3 -IS "$EC_LIB/machine.py" requirements "$EC_DEPLOYMENT" "$EC_LIST"; fi
  install_part environment
}

# A secret that this machine makes once, and keeps.
make_secret() {
  if [[ ! -s /etc/ec-deployer/$1 ]]; then
    (umask 027 && od -An -N48 -tx1 /dev/urandom | tr -d ' \n' | put "/etc/ec-deployer/$1")
    chgrp app "/etc/ec-deployer/$1"
  fi
}

# The shipper is told what to ship before the first byte, and that there is no more after the last.
begin_log() {
  local ship=$STATE/ship/$EC_DEPLOYMENT log=$EC_LOGS/deploy-$EC_DEPLOYMENT.log boot
  read -r boot </proc/sys/kernel/random/boot_id
  (umask 077 && printf '%s\n' "$EC_CALLBACK_URL/deployments/$EC_DEPLOYMENT" "$EC_TOKEN" "$boot" | put "$ship")
  (umask 027 && : >"$log")
  ln -sfn "$log" "$EC_LOGS/deploy.log"
  log_to "$log"
}

after() {
  end_log
  if [[ -f $STATE/ship/$EC_DEPLOYMENT ]]; then echo ended >>"$STATE/ship/$EC_DEPLOYMENT"; fi
  retire
  prune
}

if [[ ! $EC_DEPLOYMENT =~ ^[0-9]+$ ]]; then
  echo "\"$EC_DEPLOYMENT\" is not a deployment's number." >&2
  exit 64
fi
cd /
install -d -m 700 "$STATE" "$STATE/ship" "$STATE/begun"
install -d -m 755 "$EC_LOGS"
if ! mkdir "$STATE/begun/$EC_DEPLOYMENT" 2>/dev/null; then
  echo "Deployment $EC_DEPLOYMENT has begun before; it is not run again."
  exit 0
fi
unpack
begin_log
trap on_exit EXIT
trap 'exit 143' TERM INT HUP
make_user
write_units
systemctl restart --no-block ec-deployer-ship ec-deployer-watch
exec 9>"$STATE/lock"
if ! flock -n 9; then
  echo "Waiting for the deployment before this one to end."
  flock 9
fi
PREVIOUS=$(readlink /srv/app/current || true)

begin_manager
for name in environment gunicorn clone dependencies configure_gunicorn configure_nginx configure_supervisor \
  collectstatic migrate start health; do
  step "$name"
done
mark "done"
