#!/bin/bash
# Asks for the site as people do, through nginx; where it is not the release that was deployed, or not well, the one
# before serves again.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/front.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/front.sh"

# `/healthz` through nginx, and that it is this release and this version who answers.
answers() {
  local version said='' try
  version=$(version_of "$RELEASE")
  for ((try = 0; try < 20; try++)); do
    if said=$(asked_through_nginx /healthz 2>&1 | is_release "$DEPLOYMENT" "$version" 2>&1); then
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
  sheet=$(grep -oE 'href="/[^"]+\.css[^"]*"' <<<"$page" | head -n 1 | cut -d'"' -f2)
  if [[ -z $sheet ]]; then cure "The page of the sign-in has no stylesheet."; fi
  asked_through_nginx "$sheet" >/dev/null
}

# It is the one to go back to from now on.
validated() {
  rm -f "$ROOT/before"
}

prune() {
  local name
  find "$ROOT/releases" -mindepth 1 -maxdepth 1 -type d -printf '%T@ %f\n' | sort -rn | cut -d' ' -f2- |
    tail -n "+$((KEPT_RELEASES + 1))" | while read -r name; do
    if [[ $name != "$DEPLOYMENT" ]]; then rm -rf "${ROOT:?}/releases/$name" "$EC_LOGS/site/release-$name.log"; fi
  done
}

undo() {
  go_back
}

hook answers page validated prune
