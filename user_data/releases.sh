#!/bin/bash
# How one release takes the place of another, and how it does not where it fails.
# A part of userdata_provision.sh, which comes after it in the same script.

DRAIN=1 # seconds for what visitors asked the release before, after the new one took its place

configure_supervisor() {
  put "$RELEASE/supervisor.conf" <<CONF
[program:app-$EC_DEPLOYMENT]
command=/usr/bin/python3 -IS $EC_LIB/run.py --release $EC_DEPLOYMENT python -m gunicorn -c $RELEASE/overlay/ec_gunicorn.py ec_wsgi:application
autorestart=true
startsecs=2
startretries=5
stopwaitsecs=30
killasgroup=true
stopasgroup=false
redirect_stderr=true
stdout_logfile=$EC_LOGS/app-$EC_DEPLOYMENT.log
stdout_logfile_maxbytes=2MB
stdout_logfile_backups=1
CONF
  grep -q /srv/app/next/supervisor.conf /etc/supervisor/supervisord.conf
}

# Starts the release beside the one that serves, and waits until it answers.
start() {
  renew_supervisor
  if ! timeout 120 python3 -IS "$EC_LIB/machine.py" started "$EC_DEPLOYMENT"; then
    echo "gunicorn did not start. Its last lines:"
    tail -n 40 "$EC_LOGS/app-$EC_DEPLOYMENT.log" || true
    return 1
  fi
  reload_nginx
}

# Checks the release through nginx, and lets visitors have it.
health() {
  local saw line
  if ! saw=$(as_app 240 python3 -IS "$EC_LIB/health.py" "$CHECK_PORT" "$RELEASE/before/facts"); then
    echo "The last lines of the project:"
    tail -n 40 "$EC_LOGS/app-$EC_DEPLOYMENT.log" || true
    return 1
  fi
  point /srv/app/current "$RELEASE"
  reload_nginx
  as_app 120 python3 -IS "$EC_LIB/health.py" 80 >/dev/null
  while IFS= read -r line; do
    case $line in
      'warning '*) tell warning "${line#warning }" ;;
      *) tell saw "$line" ;;
    esac
  done <<<"$saw"
}

# After a failure what served before serves as before, and its database is as it was.
undo() {
  if [[ $(readlink /srv/app/current) == "$RELEASE" ]]; then
    if [[ -n $PREVIOUS ]]; then point /srv/app/current "$PREVIOUS"; else rm -f /srv/app/current; fi
  fi
  if [[ $(readlink /srv/app/next) == "$RELEASE" ]]; then
    if [[ -n $PREVIOUS ]]; then point /srv/app/next "$PREVIOUS"; else rm -f /srv/app/next; fi
    rm -f "$STATE/nginx"
    reload_nginx
    supervisorctl update
  fi
  if [[ -d $RELEASE/before ]]; then as_app 600 python3 -IS "$EC_LIB/database.py" restore "$RELEASE"; fi
}

# Stops the processes of the release before, once what visitors asked of it has been answered.
retire() {
  if [[ -n $PREVIOUS && $(readlink /srv/app/current) == "$RELEASE" ]]; then
    sleep "$DRAIN"
    supervisorctl update
  fi
}

# Keeps three releases, always the one that serves, and the environments that they have.
prune() {
  local n serving
  serving=$(readlink /srv/app/current || true)
  # Nobody goes back behind what serves.
  if [[ -n $serving ]]; then rm -f "$serving"/before/{postgresql,mysql}-*; fi
  find /srv/app/releases -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -rn | tail -n +4 | while read -r n; do
    if [[ /srv/app/releases/$n != "$serving" ]]; then
      rm -rf "/srv/app/releases/$n" "$EC_LOGS/app-$n.log" "$EC_LOGS/app-$n.log.1"
    fi
  done
  find "$ENVIRONMENTS" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | while read -r n; do
    if [[ -z $(find /srv/app/releases -mindepth 2 -maxdepth 2 -lname "$ENVIRONMENTS/$n" -print -quit) ]]; then
      rm -f "$ENVIRONMENTS/$n.made"
      rm -rf "${ENVIRONMENTS:?}/$n"
    fi
  done
}
