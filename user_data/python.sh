#!/bin/bash
# Python environments. Releases with the same dependencies share one.
# A part of userdata_provision.sh, which comes after it in the same script.

ENVIRONMENTS=/srv/app/environments
ENVIRONMENT_DAYS=7 # until what a project does not pin is looked for anew, security releases among it

# Installs packages into the release's environment, by its own path: that is what their programs begin with.
install_packages() {
  as_app 900 uv pip install --python "$(readlink "$RELEASE/venv")/bin/python" "$@"
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
