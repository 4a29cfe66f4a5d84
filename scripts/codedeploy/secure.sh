#!/bin/bash
# Asks once more for the certificate of the site's name; a timer runs it until there is one. No deployment is under
# way: it is of the release that serves.

DEPLOYMENT_ID=$(basename -- "$(readlink /opt/ec-deployer/current)")
# shellcheck source=scripts/codedeploy/hook.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/hook.sh"
# shellcheck source=scripts/codedeploy/front.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/front.sh"

secure() {
  secure_front
}

hook secure
