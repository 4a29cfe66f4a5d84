#!/bin/bash
# The project of a release: its code, its settings, its files and its database.
# A part of userdata_provision.sh, which comes after it in the same script.

# One fact that project.py found out. Its text is the project's: whoever uses it checks it first. It is a file of the
# user app's: what stands in its place is read with that user's rights, and for a moment at most.
fact() {
  runuser -u app -- timeout 5 sed -n "s/^$1=//p" "$RELEASE/before/facts"
}

# Runs a command of the release as the user app: `in_release SECONDS COMMAND...`.
in_release() {
  local seconds=$1
  shift
  as_app "$seconds" --release "$EC_DEPLOYMENT" "$@"
}

# Begins the process that loads the project once and then runs its management commands: loading is what takes them
# long. It waits until there is a release to load, and loads it again where it is told so by another line.
begin_manager() {
  coproc MANAGER {
    trap - EXIT
    exec 9>&-
    while read -r _; do in_release 1800 python "$EC_LIB/project.py" "$RELEASE/before/facts" || echo 1; done
  }
  exec 7>&"${MANAGER[1]}" 8<&"${MANAGER[0]}"
}

# What came of what the manager was last asked for: `answer SECONDS`.
answer() {
  local line
  while read -r -t "$(($1 + 20))" line <&8; do
    if [[ $line =~ ^[0-9]{1,3}$ ]]; then return "$line"; fi
    tell_line "$line"
  done
  return 1
}

# A program's line in the log: as a mark where it begins as `repaired TEXT` or `warning TEXT` does.
tell_line() {
  case $1 in
    'repaired '* | 'warning '*) tell "${1%% *}" "${1#* }" ;;
    *) printf '%s\n' "$1" ;;
  esac
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
  spell_directories
  if [[ -f $RELEASE/repo/.gitmodules ]]; then
    echo "Warning: the repository has submodules; they are not fetched."
  fi
}

# Django looks for some directories by their names. Where their author's computer takes capitals for small letters, they
# may be spelt otherwise, which nobody there notices.
spell_directories() {
  local directory name
  while IFS= read -r -d '' directory; do
    name=${directory##*/}
    if [[ ! -e ${directory%/*}/${name,,} ]]; then
      as_app 20 ln -s -- "$name" "${directory%/*}/${name,,}"
      tell repaired "The directory ${directory#"$RELEASE/repo/"} is found as ${name,,} too, which Django looks for."
    fi
  done < <(as_app 30 find "$RELEASE/repo" -maxdepth 6 -type d -not -path '*/node_modules/*' \
    \( -iname templates -o -iname static \) -name '*[A-Z]*' -print0 | head -z -n 20)
}

# Loads the settings, brings about the databases that they name, and then loads all of the project.
load_once() {
  echo >&7
  answer 140 || return
  serve_databases || exit
  echo >&7
  answer 240
}

# Loads the project; what it lacks for that, or by what its own checks say, is installed first. Only they find
# that a model's field needs a package.
load_project() {
  local code=0
  if ! load_once; then
    install_part loading
  else
    manage 120 check || code=$?
    if ((code == 0)); then return; fi
    if ! install_part loading; then
      # Checks that ask the database, which is empty yet, are not for migrate; the visitor's look decides.
      if ((code == 3)); then
        touch "$RELEASE/unsound"
        tell warning "The project's own checks find fault with it; the log of this step says with what."
      fi
      return
    fi
    printf '\0' >&7 # its process has loaded what was there before
  fi
  load_once
}

configure_gunicorn() {
  cp "$EC_LIB"/ec_*.py "$RELEASE/overlay/"
  write_values
  load_project
  if [[ $(fact DEBUG) == keep ]]; then
    tell warning "Without DEBUG the project has no pages, so DEBUG stays as the project sets it."
  fi
  if [[ ! $(fact UNMIGRATED) =~ ^[A-Za-z0-9_,]*$ ]]; then
    echo "An app's label is not a plain name."
    return 1
  fi
  write_values
}

# Starts the database servers that the settings name, and brings the driver that the project does not.
serve_databases() {
  if [[ -n $(fact SERVERS) ]]; then python3 -IS "$EC_LIB/servers.py" up "$RELEASE/before/facts" || return; fi
  if [[ $(fact DRIVER) =~ ^(postgresql|mysql)$ ]]; then install_part "$(fact DRIVER)"; fi
}

# What the release's processes are told, as run.py reads it.
write_values() {
  local debug='' unmigrated='' static=''
  if [[ -f $RELEASE/before/facts ]]; then
    debug=$(fact DEBUG) unmigrated=$(fact UNMIGRATED) static=$(fact STATIC)
  fi
  printf '%s\0' "EC_PROJECT=$EC_PROJECT" "EC_SETTINGS=$EC_SETTINGS" "EC_WSGI=$EC_WSGI" \
    "EC_DATABASE=$EC_DATABASE" "EC_DATABASE_LIKELY=$EC_DATABASE_LIKELY" "EC_VARIABLES=$EC_VARIABLES" \
    "EC_DEBUG=$debug" "EC_UNMIGRATED=$unmigrated" "EC_STATIC=$static" | put "$RELEASE/values"
}

collectstatic() {
  local own
  if [[ $(fact STATICFILES) != 1 ]]; then
    echo "The project does not use django.contrib.staticfiles."
    return
  fi
  manage 300 collectstatic --noinput
  if [[ $(fact STATIC) == plain ]]; then
    write_values
    configure_nginx
  fi
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
  # Tables that are there already, made without the migration that is committed since, are not made again.
  local alias aliases unmigrated options=(--noinput --fake-initial) line
  if [[ -e $RELEASE/unsound ]]; then options+=(--skip-checks); fi
  as_app 600 python3 -IS "$EC_LIB/database.py" prepare "$RELEASE" | while IFS= read -r line; do
    tell_line "$line"
  done
  IFS=, read -ra aliases <<<"$(fact DATABASES)"
  unmigrated=$(fact UNMIGRATED)
  if [[ -n $unmigrated ]]; then
    options+=(--run-syncdb)
    tell warning "No migrations are committed for ${unmigrated//,/, }: tables are made once, later changes of the" \
      "models will not reach them."
  fi
  if ((${#aliases[@]} == 0)); then echo "The project has no database."; fi
  for alias in "${aliases[@]}"; do
    # A user's model without migrations refers to tables of this app, and is made before those that have some.
    if [[ -n $unmigrated && $(fact AUTH) == 1 ]]; then
      manage 600 migrate auth --noinput --fake-initial --skip-checks --database "$alias"
    fi
    manage 600 migrate "${options[@]}" --database "$alias"
  done
  printf '\0' >&7 # no more commands
  first_admin
  if [[ -n $(find /srv/app/shared -maxdepth 1 -type f -name '*.sqlite3' -perm /007 -print -quit) ]]; then
    in_release 20 find /srv/app/shared -maxdepth 1 -type f -name '*.sqlite3' -exec chmod 640 {} +
  fi
}
