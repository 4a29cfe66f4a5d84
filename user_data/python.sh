#!/bin/bash
# Python environments. Releases with the same dependencies share one.
# A part of userdata_provision.sh, which comes after it in the same script.

# shellcheck disable=SC2034 # the parts that follow use it
ENVIRONMENTS=/srv/app/environments

# Does a part of install.py, and tells what came of it even where it fails.
install_part() {
  local code=0 kind text
  export EC_DEPLOYMENT EC_PROJECT EC_REQUIREMENTS EC_UV_LOCK EC_LIST EC_NAMES_DJANGO EC_DJANGO EC_DJANGO_LTS \
    EC_PYTHON EC_PYTHON_FROM EC_COMMITTED
  EC_BASICS_LIST="${EC_BASICS[*]}" python3 -IS "$EC_LIB/install.py" "$1" || code=$?
  if [[ -f $RELEASE/told ]]; then
    while read -r kind text; do tell "$kind" "$text"; done <"$RELEASE/told"
    rm -f "$RELEASE/told"
  fi
  return "$code"
}

gunicorn() {
  install_part gunicorn
}

dependencies() {
  install_part dependencies
}
