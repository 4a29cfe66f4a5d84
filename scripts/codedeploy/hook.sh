#!/bin/bash
# What the hooks of CodeDeploy share: where things are on the site's server, and how one release takes the place of
# another. Each hook begins with it.
#
#   /opt/ec-deployer/incoming            where CodeDeploy puts the bundle
#   /opt/ec-deployer/releases/<deployment>/  a release: the program, scripts/, the settings that it got, and `validated`
#                                        where it was
#   /opt/ec-deployer/current             → the release that serves
#   /opt/ec-deployer/before              → the one that served before, while `current` is not yet validated
#   /etc/ec-deployer/server.env          what this server is told of itself, by its user data
#   /etc/ec-deployer/site.env            the settings of the site
#   /var/lib/ec-deployer/                the database, the keys and the copies of both
#
# No request is refused in a release: supervisor holds the socket on which nginx asks, a process of its own keeps it
# open, and what comes while there is no site waits in it for a second or two.

# shellcheck disable=SC2034 # the hooks use what is set here
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/../lib.sh"

ROOT=/opt/ec-deployer
DATA=/var/lib/ec-deployer
SETTINGS=/etc/ec-deployer
KEPT_RELEASES=5
KEPT_COPIES=10
# Seconds until a release must answer: it may have to migrate a large database.
PATIENCE=300

DEPLOYMENT=${DEPLOYMENT_ID:-}
if [[ ! $DEPLOYMENT =~ ^[A-Za-z0-9][A-Za-z0-9-]*$ ]]; then
  echo "DEPLOYMENT_ID is \"$DEPLOYMENT\", which is no deployment of CodeDeploy: it is CodeDeploy's agent that runs this." >&2
  exit 64
fi
RELEASE=$ROOT/releases/$DEPLOYMENT

# One line of a file of NAME=value; nothing where it is not there.
setting() {
  local line
  [[ -e $1 ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    if [[ ${line%%=*} == "$2" ]]; then printf '%s' "${line#*=}"; fi
  done <"$1"
}

# Runs functions as the steps of this hook. What they print goes to CodeDeploy, which shows its end where the hook
# fails, and to a log of the deployment. CodeDeploy kills a hook that takes longer than appspec.yml says, with little
# time to undo anything: each of its waits is bounded, and together they are shorter.
hook() {
  local name log=$EC_LOGS/site/release-$DEPLOYMENT.log
  install -d -m 755 "$EC_LOGS"
  install -d -m 750 -g adm "$EC_LOGS/site"
  # A signal to all of the hook's processes must not end who reads what undo says.
  exec 8>&1 > >(trap '' TERM INT HUP; exec tee -a "$log") 2>&1
  EC_LOGGER=$!
  trap on_exit EXIT
  trap 'exit 143' TERM INT HUP
  trap : PIPE
  exec 9>/run/ec-deployer-release.lock
  flock -w 600 9 || busy
  echo "${LIFECYCLE_EVENT:-$(basename -- "$0")} of $DEPLOYMENT, $(date -u +%FT%TZ)"
  for name in "$@"; do step "$name"; done
}

# What a hook that fails puts back: nothing, where it says nothing else. In it a bare `return` would give the status
# that the hook ends with.
undo() { :; }

after() {
  # Its last line is to be out before CodeDeploy reads the end.
  exec >&8 2>&1 9>&- 8>&-
  wait "$EC_LOGGER" || true
}

# What a hook does that gets no turn.
busy() {
  cure "Another deployment, or the renewal of the certificate, has been at work for ten minutes."
}

# Makes what the release needs where it is not yet there: nothing here changes what serves.
make_account() {
  id -u ec-deployer >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir "$DATA" --no-create-home --shell /usr/sbin/nologin ec-deployer
  install -d -m 755 "$ROOT" "$ROOT/releases" "$SETTINGS"
  install -d -m 711 -o ec-deployer -g ec-deployer "$DATA"
  as_site install -d -m 700 "$DATA/backups"
}

# Runs a command as the user of the site: what is below its own directory may be a link that leads anywhere, which root
# is not to follow.
as_site() {
  setpriv --reuid=ec-deployer --regid=ec-deployer --init-groups --inh-caps=-all -- "$@"
}

# What the site says of itself, asked as nginx asks. Where there is none the socket takes the question all the same.
asked_directly() {
  curl -fsS --noproxy '*' --max-time 2 http://127.0.0.1:8000/healthz
}

# Whether what a site says of itself, on standard input, is the release of that name and version, in health.
is_release() {
  python3 -IS -c '
import json, sys
said = json.load(sys.stdin)
wanted = {"status": "ok", "release": sys.argv[1], "version": sys.argv[2]}
wrong = [f"{name} is {said.get(name)}, not {value}" for name, value in wanted.items() if said.get(name) != value]
if wrong:
    sys.exit("; ".join(wrong))
' "$1" "$2"
}

# The version of a release's program: `version_of DIRECTORY`.
version_of() {
  local said
  said=$("$1/ec-deployer" --version) || return
  printf '%s' "${said##* }"
}

# The releases that were validated, the newest first.
validated_releases() {
  find "$ROOT/releases" -mindepth 2 -maxdepth 2 -name validated -printf '%T@ %h\n' | sort -rn | sed 's|.*/||'
}

# The state of the site's process, as supervisor names it; nothing where it does not know the site.
site_state() {
  # It fails for whatever is not running.
  { supervisorctl status site:site-1 2>/dev/null || true; } | awk '$2 ~ /^[A-Z]+$/ && $2 != "ERROR" { print $2 }'
}

# Stops the site that runs, which answers what it was asked before it ends, and starts the one that is current. Who
# holds the socket goes on.
restart_site() {
  local known
  known=$(site_state)
  renew_supervisor
  # One that supervisor has only now been told of it has started just now.
  if [[ -z $known ]]; then return 0; fi
  if [[ $(supervisorctl status site:site-0) != *RUNNING* ]]; then supervisorctl start site:site-0; fi
  case $known in
    STOPPED | EXITED | FATAL) ;;
    *) supervisorctl stop site:site-1 ;;
  esac
  supervisorctl start site:site-1 || true
}

# Waits until the release that is current answers: `wait_for_site DIRECTORY`. One that ends, or answers as another, is
# not waited for: people are, meanwhile.
wait_for_site() {
  local name version began=$SECONDS said
  name=$(basename -- "$1")
  version=$(version_of "$1")
  while ((SECONDS - began < PATIENCE)); do
    case $(site_state) in
      BACKOFF | EXITED | FATAL) break ;;
    esac
    if said=$(asked_directly 2>/dev/null); then
      is_release "$name" "$version" <<<"$said" || break
      echo "Release $name, version $version, answers."
      return 0
    fi
    sleep 0.2
  done
  echo "Release $name does not answer as it should. The end of its log:"
  tail -n 30 "$EC_LOGS/site/site.log" || true
  return 1
}

# Makes a release the one that serves: `switch_to DIRECTORY`.
switch_to() {
  if [[ -e $1/site.env ]]; then copy_settings "$1/site.env" "$SETTINGS/site.env"; fi
  point "$ROOT/current" "$1"
  put /etc/supervisor/conf.d/ec-deployer.conf <"$1/scripts/supervisor.conf"
  restart_site
  wait_for_site "$1"
}

# Copies settings in one piece, for root and the site alone: `copy_settings FROM TO`.
copy_settings() {
  install -m 640 -g ec-deployer "$1" "$2.new"
  mv -f "$2.new" "$2"
}

# Begins to put another release in the place of the one that serves, which is the one to go back to. Where the settings
# are written by hand it is with those that it has now, and not with those that it came with.
leave_current() {
  local current
  current=$(readlink "$ROOT/current" || echo "$ROOT/releases/none")
  if [[ -d $current && -e $SETTINGS/site.env && -z $(setting "$SETTINGS/server.env" PARAMETERS) ]]; then
    copy_settings "$SETTINGS/site.env" "$current/site.env"
  fi
  point "$ROOT/before" "$current"
}

# Gives nginx the configuration that a release brings, whoever asks: `front_of DIRECTORY`.
front_of() {
  DEPLOYMENT_ID=$(basename -- "$1") bash -c 'source "$1/hook.sh" && source "$1/front.sh" && write_front' \
    bash "$1/scripts/codedeploy"
}

# Takes back a release that was not validated: the one before serves again, with its data, since migrations only add.
go_back() {
  local before
  [[ -L $ROOT/before ]] || return 0
  before=$(readlink "$ROOT/before")
  if [[ -x $before/ec-deployer ]]; then
    echo "Release $(basename -- "$before") serves again."
    switch_to "$before" || echo "It does not answer either: see $EC_LOGS/site/site.log."
    front_of "$before" || echo "nginx has not read its configuration: see nginx -t."
  else
    echo "There is no release before this one: the site is stopped."
    supervisorctl stop site:site-1 || true
    rm -f "$ROOT/current"
  fi
  rm -f "$ROOT/before"
}

# Where a deployment before this one was cut short, its release was never validated.
settle() {
  if [[ -L $ROOT/before ]]; then
    echo "A deployment before this one was cut short."
    go_back
  fi
}
