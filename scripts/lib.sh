#!/bin/bash
# One library of steps for the golden image, the user data and the hooks of CodeDeploy: a log with marks, steps that
# stop at the first failure, apt without questions, retries, files and links that change in one piece, nginx and
# supervisor.

# shellcheck disable=SC2034 # the scripts that follow use what is set here

set -euo pipefail
umask 022

# cloud-init and systemd promise neither HOME nor PATH nor a locale.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a

EC_LIB=/opt/ec-deployer
EC_LOGS=/var/log/ec-deployer
EC_STEP= # the step that is under way
EC_SECRET= # what a mark is told by, where a filter reads the log

# What every release gets before its own dependencies, and Django where a project names none.
EC_BASICS=(gunicorn==23.0.0 'setuptools<81')
EC_DJANGO_LTS='Django>=5.2,<5.3'

# Makes the log FILE the place where all output goes, through the filter of log.py. A mark is told
# from what a project prints by a secret that only this script and the filter know: it travels
# through the pipe, never in a command line or an environment.
log_to() {
  EC_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
  exec > >(exec python3 -IS "$EC_LIB/log.py" "$1") 2>&1
  EC_LOGGER=$!
  printf '%s\n' "$EC_SECRET"
}

# Writes standard input to a file, whole or not at all.
put() {
  cat >"$1.new"
  mv -f "$1.new" "$1"
}

# The same where that changes the file; its status says whether it did.
renew() {
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then
    rm -f "$1.new"
    return 1
  fi
  mv -f "$1.new" "$1"
}

# Moves a link in one step: `point LINK TO`.
point() {
  ln -sfn "$2" "$1.new"
  mv -fT "$1.new" "$1"
}

# Says what helps, and fails.
cure() {
  echo "$*" >&2
  return 1
}

# Writes one mark.
mark() {
  printf '%s::ec %s\n' "$EC_SECRET" "$*"
}

# Writes a mark with a text, cut to what one holds: `tell saw TEXT`, `tell repaired TEXT`, `tell warning TEXT`.
tell() {
  mark "$1 $(printf '%s' "${*:2}" | tr -cd '[:print:]' | cut -b -400)"
}

# Ends the log, whoever still holds its pipe, and waits until its last byte is in the file.
end_log() {
  printf '%send\n' "$EC_SECRET"
  exec >/dev/null 2>&1
  wait "$EC_LOGGER" || true
}

# Seconds since an EPOCHREALTIME, with two decimals.
seconds_since() {
  local passed=$((${EPOCHREALTIME/./} - ${1/./}))
  printf '%d.%02d' $((passed / 1000000)) $((passed / 10000 % 100))
}

# Runs the function of that name as a step; a failure ends the script, through on_exit.
step() {
  local name=$1 began=$EPOCHREALTIME code
  EC_STEP=$name
  mark "step $name start"
  set +e
  (
    set -e
    trap - EXIT
    "$name"
  ) </dev/null
  code=$?
  set -e
  if ((code != 0)); then exit "$code"; fi
  EC_STEP=
  mark "step $name ok $(seconds_since "$began")"
}

# The end of a script, however it came: a step that did not end well is undone and marked, by the script's
# functions undo and after.
on_exit() {
  local code=$?
  trap - EXIT
  trap '' TERM INT HUP
  # Who read its output may be gone; what is undone is undone all the same.
  trap : PIPE
  set +e
  if [[ -n $EC_STEP ]]; then
    undo
    mark "step $EC_STEP failed $code"
  fi
  after
  exit "$code"
}

# Runs a command up to N times, longer apart each time: for what depends on the network.
retry() {
  local times=$1 try code
  shift
  for ((try = 1; ; try++)); do
    code=0
    "$@" || code=$?
    if ((code == 0 || try >= times)); then return "$code"; fi
    echo "Failed with code $code; trying again in $((try * 3)) seconds."
    sleep $((try * 3))
  done
}

# apt-get without questions: it waits for whoever holds the lock and keeps changed configuration files. It has half an
# hour, or EC_APT_PATIENCE seconds.
apt_get() {
  timeout -k 10 "${EC_APT_PATIENCE:-1800}" apt-get -y -q \
    -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Acquire::Retries=5 \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
    -o Dpkg::Options::=--force-unsafe-io "$@"
}

apt_install() {
  apt_get install --no-install-recommends "$@"
}

# Lets nginx read its configuration anew, and waits until no process has the old one.
renew_nginx() {
  local old pid waited
  old=$(pgrep -P "$(cat /run/nginx.pid)" || true)
  systemctl reload nginx || return
  for ((waited = 0; waited < 250; waited++)); do
    for pid in $old; do
      if [[ -d /proc/$pid ]]; then
        sleep 0.02
        continue 2
      fi
    done
    return 0
  done
}

# Lets supervisor start and stop what its configuration, as it is now, says; what stayed the same goes on.
renew_supervisor() {
  systemctl -q is-active supervisor || systemctl start supervisor
  supervisorctl update
}

# Whether this machine is one of EC2: cloud-id says aws, aws-china or aws-gov there.
on_ec2() {
  [[ $(timeout 20 cloud-id 2>/dev/null || true) == aws* ]]
}

# What the metadata service says of this machine, on EC2.
metadata() {
  local imds=http://169.254.169.254/latest token ask=(curl -fsS --noproxy '*' --retry 5 --max-time 10)
  token=$("${ask[@]}" -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/api/token") || token=
  "${ask[@]}" -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/$1" ||
    cure "The instance metadata service does not say $1: it must be enabled on this machine."
}

# The user that the project's code runs as, and the directories of the machine that outlive releases.
make_user() {
  id -u app >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir /srv/app/home --no-create-home --shell /usr/sbin/nologin app
  install -d -m 755 /srv/app /srv/app/releases /etc/ec-deployer
  install -d -m 750 -o app -g app /srv/app/home
  install -d -m 751 -o app -g app /srv/app/shared
}

# Runs a command as the user app for at most so many seconds, its whole process group ended after that.
as_app() {
  local seconds=$1
  shift
  timeout -k 10 "$seconds" python3 -IS "$EC_LIB/run.py" "$@"
}
