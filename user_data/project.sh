#!/bin/bash
# The project of a release: its code, its settings, its files and its database.
# A part of userdata_provision.sh, which comes after it in the same script.

# One fact that project.py found out. Its text is the project's: whoever uses it checks it first.
fact() {
  sed -n "s/^$1=//p" "$RELEASE/before/facts"
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
    read -r _ && in_release 1800 python "$EC_LIB/project.py" "$RELEASE/before/facts"
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

# Makes the admin of the project that its owner asked for, and tells what came of it. Without one it goes on serving.
first_admin() {
  local code=0
  python3 -IS "$EC_LIB/first_admin.py" "$EC_DEPLOYMENT" || code=$?
  case $code in
  0) ;;
  10) mark admin created ;;
  11) mark admin exists ;;
  *) mark admin failed && tell warning "The admin of the project could not be made; the log of this step says why." ;;
  esac
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
  first_admin
  if [[ -n $(find /srv/app/shared -maxdepth 1 -type f -name '*.sqlite3' -perm /007 -print -quit) ]]; then
    in_release 20 find /srv/app/shared -maxdepth 1 -type f -name '*.sqlite3' -exec chmod 640 {} +
  fi
}
