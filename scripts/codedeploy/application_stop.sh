#!/bin/bash
# The first hook of a deployment, from the bundle of the release before it. The site is not stopped here: it serves
# until ApplicationStart puts the next one in its place. What another deployment left unfinished is taken back. It
# never fails: a release whose last hook fails could not be replaced by one that mends it.

# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"

settled() {
  settle || echo "That did not go well: BeforeInstall tries once more."
}

busy() {
  echo "Another deployment has been at work for ten minutes."
  exit
}

hook settled
