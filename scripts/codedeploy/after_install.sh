#!/bin/bash
# Makes a release of the bundle that CodeDeploy has put in place, and rehearses it on the copy of the data. What serves
# notices nothing of it.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"

# The directory of the release, from what CodeDeploy has put in place. CodeDeploy removes that itself, at the next
# deployment.
release() {
  local file
  for file in ec-deployer scripts/site.sh scripts/lib.sh; do
    if [[ ! -f $ROOT/incoming/$file ]]; then cure "The bundle has no $file: see the artifacts of buildspec.yml."; fi
  done
  if [[ -d $RELEASE ]]; then
    if [[ $(readlink "$ROOT/current") == "$RELEASE" ]]; then
      echo "$DEPLOYMENT serves already."
      return
    fi
    rm -rf "$RELEASE"
  fi
  rm -rf "$RELEASE.new"
  cp -a "$ROOT/incoming" "$RELEASE.new"
  chown -R root:root "$RELEASE.new"
  chmod -R u=rwX,go=rX "$RELEASE.new"
  find "$RELEASE.new/scripts" -name '*.sh' -exec chmod 755 {} +
  chmod 755 "$RELEASE.new/ec-deployer"
  touch "$RELEASE.new"
  mv -T "$RELEASE.new" "$RELEASE"
}

# Whether the program runs here at all: it may be built for a newer system, or another kind of processor.
program() {
  local said
  if ! said=$("$RELEASE/ec-deployer" --version 2>&1); then
    echo "$said"
    cure "The program does not run on this server: it must be built for $(sed -n 's/^PRETTY_NAME=//p' /etc/os-release)," \
      "$(uname -m); see glibc in buildspec.yml."
  fi
  echo "$said"
}

# Its settings, from Parameter Store, as they are now. Each release keeps those that it was made with.
settings() {
  local path settings
  path=$(setting "$SETTINGS/server.env" PARAMETERS)
  if [[ -n $path ]]; then
    settings=$(EC_SETTINGS=/dev/null "$RELEASE/scripts/site.sh" parameters "$path") ||
      cure "The settings below $path could not be read from Parameter Store, see above."
  elif [[ -e $SETTINGS/site.env ]]; then
    settings=$(<"$SETTINGS/site.env")
  else
    echo "There is no $SETTINGS/site.env, and no PARAMETERS in $SETTINGS/server.env: the site has its defaults."
    settings=
  fi
  (umask 027 && printf '%s\n' "$settings" | put "$RELEASE/site.env")
  chgrp ec-deployer "$RELEASE/site.env"
  # Their names alone: a value may be a secret.
  echo "settings: $(sed -n 's/=.*//p' "$RELEASE/site.env" | paste -sd' ')"
}

# A database that no release of this server has served is of a server before it: it is copied now that there is a
# program for it.
copy() {
  if [[ ! -x $ROOT/current/ec-deployer && -e $DATA/deployer.db ]]; then
    EC_SETTINGS=$RELEASE/site.env "$RELEASE/scripts/site.sh" backup "$DATA/backups/" --keep "$KEPT_COPIES"
  fi
}

# The release opens a copy of the database as it will the real one: where its settings are wrong or a migration fails,
# the release that serves has not been touched.
rehearsal() {
  local newest scratch=$DATA/rehearsal
  as_site rm -rf "$scratch"
  as_site install -d -m 700 "$scratch"
  newest=$(as_site find "$DATA/backups" -name 'ec-deployer-*.tar.gz' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
  if [[ -n $newest ]]; then as_site tar -xzf "$newest" -C "$scratch" deployer.db; fi
  EC_STATE_DIR=$scratch EC_SETTINGS=$RELEASE/site.env "$RELEASE/scripts/site.sh" user list >/dev/null ||
    cure "The release does not open a copy of the data, see above: nothing was changed."
  as_site rm -rf "$scratch"
}

undo() {
  as_site rm -rf "$DATA/rehearsal"
  rm -rf "$RELEASE.new"
}

hook release program settings copy rehearsal
