#!/bin/bash
# Asks for the site as people do, through nginx; where it is not the release that was deployed, or not well, the one
# before serves again.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/front.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/front.sh"

# `/healthz` through nginx, and that it is this release and this version who answers.
answers() {
  local version said='' began=$SECONDS
  version=$(version_of "$RELEASE")
  while ((SECONDS - began < 60)); do
    if said=$(asked_through_nginx /healthz 2>&1) && said=$(is_release "$DEPLOYMENT" "$version" <<<"$said" 2>&1); then
      echo "$(front_url)/healthz: $DEPLOYMENT, version $version."
      return
    fi
    sleep 1
  done
  cure "$(front_url)/healthz does not answer as this release: ${said##*$'\n'}"
}

# The page that everybody comes by, and its stylesheet.
page() {
  local page sheet
  page=$(asked_through_nginx /login)
  sheet=$(grep -oE -m 1 'href="/[^"]+\.css[^"]*"' <<<"$page" | cut -d'"' -f2) || sheet=
  if [[ -z $sheet ]]; then cure "The page of the sign-in has no stylesheet."; fi
  asked_through_nginx "$sheet" >/dev/null
}

# It is the one to go back to from now on.
validated() {
  if [[ ! -e $RELEASE/validated ]]; then touch "$RELEASE/validated"; fi
  rm -f "$ROOT/before"
}

# Keeps the newest releases that were validated, and none of the others.
prune() {
  local name kept
  kept=" $(validated_releases | head -n "$KEPT_RELEASES" | paste -sd' ') $DEPLOYMENT "
  find "$ROOT/releases" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | while read -r name; do
    if [[ $kept != *" $name "* ]]; then rm -rf "${ROOT:?}/releases/$name"; fi
  done
  # What those printed that failed is read for longer.
  find "$EC_LOGS/site" -name 'release-*.log' -mtime +30 -delete
}

undo() {
  go_back
}

hook answers page validated prune
