#!/bin/bash
# Puts one commit of a Django project on this machine: one deployment, with the steps of its log.
# Before it come a block of values (EC_…), the library of steps and the files of the machine.
#
# A release has its own code, static files and processes; an environment serves every release with the same
# dependencies. `current` is the release that serves, `next` the one that was checked last: the same, but while a
# deployment is under way. nginx and supervisor reach all of a release through these two links, so that moving
# `current` is all there is to a deployment, and no process of nginx's, old or new, knows a release by its number.

STATE=/var/lib/ec-deployer
RELEASE=/srv/app/releases/$EC_DEPLOYMENT
FACTS=$RELEASE/before/facts
ENVIRONMENTS=/srv/app/environments
ENVIRONMENT_DAYS=7 # until what a project does not pin is looked for anew, security releases among it
CHECK_PORT=9180    # nginx listens here on the loopback for the check of `next`
DRAIN=1            # seconds for what visitors asked the release before, after the new one took its place

# One fact that project.py found out. Its text is the project's: whoever uses it checks it first.
fact() {
  sed -n "s/^$1=//p" "$FACTS"
}

# Runs a command of the release as the user app: `in_release SECONDS COMMAND...`.
in_release() {
  local seconds=$1
  shift
  as_app "$seconds" --release "$EC_DEPLOYMENT" "$@"
}

# Begins the process that loads the project once and then runs its management commands: loading is what takes them
# long. It waits until there is a release to load.
begin_manager() {
  coproc MANAGER {
    trap - EXIT
    exec 9>&-
    read -r _ && in_release 1800 python "$EC_LIB/project.py" "$FACTS"
  }
  exec 7>&"${MANAGER[1]}" 8<&"${MANAGER[0]}"
}

# What came of what the manager was last asked for: `answer SECONDS`.
answer() {
  local code
  if read -r -t "$(($1 + 20))" code <&8 && [[ $code =~ ^[0-9]{1,3}$ ]]; then return "$code"; fi
  return 1
}

# Runs a management command: `manage SECONDS COMMAND ARGUMENTS...`.
manage() {
  printf '%s\0' "$@" '' >&7
  answer "$1"
}

# Installs packages into the release's environment, by its own path: that is what their programs begin with.
install_packages() {
  as_app 900 uv pip install --python "$(readlink "$RELEASE/venv")/bin/python" "$@"
}

# Writes standard input to a file where that changes it; its status says whether it did.
renew() {
  cat >"$1.new"
  if cmp -s "$1.new" "$1"; then
    rm -f "$1.new"
    return 1
  fi
  mv -f "$1.new" "$1"
}

# Moves a link in one step.
point() {
  ln -sfn "$2" "$1.new"
  mv -fT "$1.new" "$1"
}

# What nginx is to have read: as files, and as the process that read them.
nginx_reads() {
  cat /run/nginx.pid /etc/nginx/conf.d/ec-deployer.conf /srv/app/current/nginx.conf /srv/app/next/nginx-next.conf \
    2>/dev/null || true
}

# Lets nginx read its configuration anew, where it has not read it as it is, and waits until no process has the old
# one. Whether it is up is for the check to say: it is never started here.
reload_nginx() {
  local old pid waited
  if ! systemctl -q is-active nginx; then
    echo "nginx is not running."
    return
  fi
  if nginx_reads | cmp -s - "$STATE/nginx"; then return; fi
  old=$(pgrep -P "$(cat /run/nginx.pid)" || true)
  rm -f "$STATE/nginx"
  systemctl reload nginx || return
  nginx_reads | put "$STATE/nginx"
  for ((waited = 0; waited < 250; waited++)); do
    for pid in $old; do
      if [[ -d /proc/$pid ]]; then
        sleep 0.02
        continue 2
      fi
    done
    return
  done
}

write_units() {
  local changed=''
  [[ -f $STATE/units ]] || changed=1
  rm -f "$STATE/units"
  renew /etc/tmpfiles.d/ec-deployer.conf <<'UNIT' && changed=1
d /run/ec-deployer 0750 app www-data
UNIT
  renew /etc/systemd/system/ec-deployer-ship.service <<'UNIT' && changed=1
[Unit]
Description=Ships deploy logs to the site
After=network-online.target
Wants=network-online.target
ConditionDirectoryNotEmpty=/var/lib/ec-deployer/ship
[Service]
EnvironmentFile=-/etc/environment
ExecStart=/usr/bin/python3 -IS /opt/ec-deployer/ship.py
Restart=on-failure
RestartSec=5
[Install]
WantedBy=multi-user.target
UNIT
  # A deployment that a restart cut short leaves `next` and perhaps a half migrated database behind; the release
  # before it still is `current`.
  renew /etc/systemd/system/ec-deployer-address.service <<'UNIT' && changed=1
[Unit]
Description=Keeps the names of this machine true, before the project starts
After=network-online.target
Wants=network-online.target
Before=supervisor.service nginx.service
[Service]
Type=oneshot
ExecStart=-/usr/sbin/nft -f /etc/ec-deployer/metadata.nft
ExecStart=-/usr/bin/python3 -IS /opt/ec-deployer/machine.py settle
ExecStart=/usr/bin/python3 -IS /opt/ec-deployer/machine.py address
[Install]
WantedBy=multi-user.target
UNIT
  # The metadata service tells the machine's secrets to whoever asks; the project's code may not.
  renew /etc/ec-deployer/metadata.nft <<UNIT && changed=1
add table inet ec_deployer
delete table inet ec_deployer
table inet ec_deployer {
  chain output {
    type filter hook output priority 0;
    meta skuid $(id -u app) ip daddr 169.254.169.254 reject
    meta skuid $(id -u app) ip6 daddr fd00:ec2::254 reject
  }
}
UNIT
  if [[ -n $changed ]]; then
    systemd-tmpfiles --create /etc/tmpfiles.d/ec-deployer.conf
    systemctl daemon-reload
    systemctl -q enable ec-deployer-ship ec-deployer-address
  fi
  : >"$STATE/units"
}

environment() {
  local begun
  # Numbers grow over the whole site: one that comes late must not take the place of a newer one.
  for begun in "$STATE"/begun/*; do
    if ((${begun##*/} > EC_DEPLOYMENT)); then
      echo "Deployment ${begun##*/} is newer than this one, and began before it."
      return 1
    fi
  done
  python3 -IS "$EC_LIB/machine.py" environment "$EC_DEPLOYMENT"
  if [[ ! -s /etc/ec-deployer/secret_key ]]; then
    (umask 027 && od -An -N48 -tx1 /dev/urandom | tr -d ' \n' | put /etc/ec-deployer/secret_key)
    chgrp app /etc/ec-deployer/secret_key
  fi
  if [[ $(readlink /srv/app/next) != "$PREVIOUS" ]]; then
    # The deployment before this one was killed.
    python3 -IS "$EC_LIB/machine.py" settle
    supervisorctl update || true
  fi
  python3 -IS "$EC_LIB/machine.py" address
  cat /etc/ec-deployer/hosts
  nft list table inet ec_deployer >/dev/null 2>&1 || nft -f /etc/ec-deployer/metadata.nft ||
    echo "Warning: this machine cannot keep the project from the metadata service."
  rm -rf "$RELEASE"
  install -d -m 755 "$RELEASE" "$RELEASE/overlay" "$ENVIRONMENTS"
  install -d -m 755 -o app -g app "$RELEASE"/{repo,static,before}
  ln -s "/run/ec-deployer/$EC_DEPLOYMENT.sock" "$RELEASE/socket"
  if compgen -G "$ENVIRONMENTS/*.made-of" >/dev/null; then
    echo "Which Python environment is right depends on the dependencies."
  else
    make_environment
  fi
}

# An empty environment, the release's own.
make_environment() {
  rm -rf "${ENVIRONMENTS:?}/$EC_DEPLOYMENT" "$ENVIRONMENTS/$EC_DEPLOYMENT.made-of"
  install -d -m 755 -o app -g app "$ENVIRONMENTS/$EC_DEPLOYMENT"
  ln -sfn "$ENVIRONMENTS/$EC_DEPLOYMENT" "$RELEASE/venv"
  as_app 60 uv venv --allow-existing --python /usr/bin/python3 "$ENVIRONMENTS/$EC_DEPLOYMENT"
}

gunicorn() {
  if [[ -L $RELEASE/venv ]]; then
    install_basics
  else
    echo "${EC_BASICS[0]} is in every environment of this machine."
  fi
}

# The golden image brings them along, so that no index need be asked.
install_basics() {
  install_packages --offline "${EC_BASICS[@]}" || install_packages "${EC_BASICS[@]}"
}

# An environment that was made of the same, not long ago; its file says of what.
made_environment() {
  local file
  if grep -Eqv '^[[:space:]]*($|#|--hash=|[A-Za-z0-9][^/@]*$)' "$RELEASE/made-of"; then
    # What a path, a URL or an included file leads to may have changed.
    return
  fi
  find "$ENVIRONMENTS" -maxdepth 1 -name '*.made-of' -mtime "-$ENVIRONMENT_DAYS" | while read -r file; do
    if cmp -s "$file" "$RELEASE/made-of" && [[ -x ${file%.made-of}/bin/python ]]; then
      echo "${file%.made-of}"
      break
    fi
  done
}

clone() {
  local git=(as_app 120 git -C "$RELEASE/repo" -c protocol.allow=never -c "protocol.${EC_REPO%%:*}.allow=always"
    -c http.followRedirects=false -c core.hooksPath=/dev/null -c advice.detachedHead=false)
  local format=sha1
  if ((${#EC_COMMIT} == 64)); then format=sha256; fi
  "${git[@]}" init -q --object-format="$format"
  if ! retry 3 "${git[@]}" fetch -q --no-tags --depth 1 --end-of-options "$EC_REPO" "$EC_COMMIT"; then
    echo "The server does not give a commit by its name; fetching the branch."
    retry 3 "${git[@]}" fetch -q --no-tags --end-of-options "$EC_REPO" "refs/heads/$EC_BRANCH"
  fi
  "${git[@]}" checkout -q --detach "$EC_COMMIT"
  if [[ $("${git[@]}" rev-parse HEAD) != "$EC_COMMIT" ]]; then
    echo "What was checked out is not the commit $EC_COMMIT."
    return 1
  fi
  "${git[@]}" --no-pager log -1 --format='%h %s'
  mark "commit $EC_COMMIT"
  if [[ -f $RELEASE/repo/.gitmodules ]]; then
    echo "Warning: the repository has submodules; they are not fetched."
  fi
}

dependencies() {
  local wanted=() where=$RELEASE/repo/$EC_PROJECT django=$EC_DJANGO made
  case $django in
    '') ;;
    [0-9]*.[0-9]*.[0-9]*) django="Django==$django" ;;
    [0-9]*) django="Django==$django.*" ;;
    *) django="Django$django" ;;
  esac
  if [[ -n $EC_REQUIREMENTS ]]; then
    as_app 60 python3 -IS "$EC_LIB/requirements.py" "$RELEASE/repo/$EC_REQUIREMENTS" "$RELEASE/repo" |
      put "$RELEASE/requirements.txt"
    wanted=(-r "$RELEASE/requirements.txt")
    where=$(dirname "$RELEASE/repo/$EC_REQUIREMENTS")
    if [[ -z $EC_NAMES_DJANGO && -n $django ]]; then wanted+=("$django"); fi
  else
    wanted=("${django:-$EC_DJANGO_LTS}")
    echo "No dependencies are declared: installing ${wanted[*]}."
  fi
  {
    python3 -VV
    printf '%s\n' "${EC_BASICS[@]}" "${wanted[@]}" | grep -vxF -e -r -e "$RELEASE/requirements.txt"
    if [[ -f $RELEASE/requirements.txt ]]; then cat "$RELEASE/requirements.txt"; fi
  } >"$RELEASE/made-of"
  if [[ ! -L $RELEASE/venv ]]; then
    made=$(made_environment)
    if [[ -n $made ]]; then
      ln -s "$made" "$RELEASE/venv"
      echo "The dependencies are those of deployment ${made##*/}: its environment serves this one too."
      return
    fi
    make_environment
    install_basics
  fi
  cd "$where" || return
  install_packages "${wanted[@]}"
  put "$ENVIRONMENTS/$EC_DEPLOYMENT.made-of" <"$RELEASE/made-of"
}

configure_gunicorn() {
  local name
  for name in ec_overlay.py ec_wsgi.py ec_gunicorn.py; do
    cp "$EC_LIB/$name" "$RELEASE/overlay/"
  done
  write_values
  echo >&7
  answer 240
  if [[ $(fact DEBUG) == keep ]]; then
    echo "Warning: without DEBUG the project has no pages, so DEBUG stays as the project sets it."
  fi
  if [[ ! $(fact UNMIGRATED) =~ ^[A-Za-z0-9_,]*$ ]]; then
    echo "An app's label is not a plain name."
    return 1
  fi
  write_values "$(fact DEBUG)" "$(fact UNMIGRATED)"
}

# What the release's processes are told, as run.py reads it.
write_values() {
  printf '%s\0' "EC_PROJECT=$EC_PROJECT" "EC_SETTINGS=$EC_SETTINGS" "EC_WSGI=$EC_WSGI" \
    "EC_DEBUG=${1-}" "EC_UNMIGRATED=${2-}" | put "$RELEASE/values"
}

# A location of nginx for files: only a plain path becomes one.
location() {
  if [[ $1 =~ ^/([A-Za-z0-9_~-][A-Za-z0-9._~-]*/)+$ ]]; then
    printf 'location ^~ %s { alias %s/; %s }\n' "$1" "$2" "$3"
  else
    echo "nginx serves nothing at \"$1\": it is not a plain path of this site." >&2
  fi
}

# What nginx does for the release that a link, `current` or `next`, leads to.
serve() {
  location "$(fact STATIC_URL)" "/srv/app/$1/static" 'expires 10m;'
  if [[ $(fact MEDIA_URL) != "$(fact STATIC_URL)" ]]; then
    location "$(fact MEDIA_URL)" /srv/app/shared/media 'add_header X-Content-Type-Options nosniff;'
  fi
  cat <<CONF
location / {
  proxy_pass http://unix:/srv/app/$1/socket;
  proxy_set_header Host \$http_host;
  proxy_set_header X-Real-IP \$remote_addr;
  proxy_set_header X-Forwarded-For \$remote_addr;
  proxy_set_header X-Forwarded-Proto \$scheme;
  proxy_read_timeout 60s;
}
CONF
}

configure_nginx() {
  local ipv6=''
  if [[ -e /proc/net/if_inet6 ]]; then ipv6='listen [::]:80 default_server;'; fi
  serve current | put "$RELEASE/nginx.conf"
  serve next | put "$RELEASE/nginx-next.conf"
  put /etc/nginx/conf.d/ec-deployer.conf <<CONF
client_max_body_size 20m;
server_tokens off;
gzip_vary on;
gzip_proxied any;
gzip_types text/css text/javascript application/javascript application/json image/svg+xml;
server {
  listen 80 default_server;
  $ipv6
  root /nonexistent;
  include /srv/app/curren[t]/nginx.conf;
}
server {
  listen 127.0.0.1:$CHECK_PORT;
  access_log off;
  root /nonexistent;
  include /srv/app/nex[t]/nginx-next.conf;
}
CONF
  rm -f /etc/nginx/sites-enabled/default
  point /srv/app/next "$RELEASE"
  nginx_reads | cmp -s - "$STATE/nginx" || nginx -t -q
}

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

collectstatic() {
  local own
  if [[ $(fact STATICFILES) != 1 ]]; then
    echo "The project does not use django.contrib.staticfiles."
    return
  fi
  manage 300 collectstatic --noinput
  # Files that a project keeps where it gathers them would otherwise be served by nobody.
  own=$(fact OWN_STATIC)
  if [[ -n $own && -d $own ]]; then in_release 60 cp -rnP -- "$own/." "$RELEASE/static/"; fi
}

migrate() {
  local alias aliases unmigrated options=()
  as_app 240 python3 -IS "$EC_LIB/database.py" prepare "$RELEASE"
  IFS=, read -ra aliases <<<"$(fact DATABASES)"
  unmigrated=$(fact UNMIGRATED)
  if [[ -n $unmigrated ]]; then
    options=(--run-syncdb)
    echo "Warning: no migrations are committed for ${unmigrated//,/, }: tables are made once, later changes" \
      "of the models will not reach them."
  fi
  if ((${#aliases[@]} == 0)); then echo "The project has no database."; fi
  for alias in "${aliases[@]}"; do
    manage 600 migrate --noinput "${options[@]}" --database "$alias"
  done
  printf '\0' >&7 # no more commands
  if [[ -n $(find /srv/app/shared -maxdepth 1 -type f -name '*.sqlite3' -perm /007 -print -quit) ]]; then
    in_release 20 find /srv/app/shared -maxdepth 1 -type f -name '*.sqlite3' -exec chmod 640 {} +
  fi
}

# Starts the release beside the one that serves, and waits until it answers.
start() {
  systemctl -q is-active supervisor || systemctl start supervisor
  supervisorctl update
  if ! timeout 120 python3 -IS "$EC_LIB/machine.py" started "$EC_DEPLOYMENT"; then
    echo "gunicorn did not start. Its last lines:"
    tail -n 40 "$EC_LOGS/app-$EC_DEPLOYMENT.log" || true
    return 1
  fi
  reload_nginx
}

# Checks the release through nginx, and lets visitors have it.
health() {
  local saw line admin=0
  if [[ $(fact ADMIN)$(fact STATICFILES) == 11 ]]; then admin=1; fi
  if ! saw=$(as_app 120 python3 -IS "$EC_LIB/health.py" "$CHECK_PORT" "$(fact STATIC_URL)" "$admin"); then
    echo "The last lines of the project:"
    tail -n 40 "$EC_LOGS/app-$EC_DEPLOYMENT.log" || true
    return 1
  fi
  point /srv/app/current "$RELEASE"
  reload_nginx
  as_app 120 python3 -IS "$EC_LIB/health.py" 80 "" 0 >/dev/null
  while IFS= read -r line; do
    mark "saw $(printf '%s' "$line" | tr -cd '[:print:]' | cut -b -400)"
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
  if [[ -d $RELEASE/before ]]; then as_app 120 python3 -IS "$EC_LIB/database.py" restore "$RELEASE"; fi
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
  find /srv/app/releases -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -rn | tail -n +4 | while read -r n; do
    if [[ /srv/app/releases/$n != "$serving" ]]; then
      rm -rf "/srv/app/releases/$n" "$EC_LOGS/app-$n.log" "$EC_LOGS/app-$n.log.1"
    fi
  done
  find "$ENVIRONMENTS" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | while read -r n; do
    if [[ -z $(find /srv/app/releases -mindepth 2 -maxdepth 2 -lname "$ENVIRONMENTS/$n" -print -quit) ]]; then
      rm -f "$ENVIRONMENTS/$n.made-of"
      rm -rf "${ENVIRONMENTS:?}/$n"
    fi
  done
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
systemctl restart --no-block ec-deployer-ship
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
