#!/bin/bash
# Makes a golden image: what every machine needs and no project brings. Runs as root at the first
# boot of a fresh Debian or Ubuntu machine; the library of steps and the files of the machine come
# before it. It powers the machine off, and its log ends with a mark only when all went well.

# https://pypi.org/project/uv/; its wheel holds one program without dependencies.
UV_VERSION=0.13.9

# Brings the packages of the base up to date.
update() {
  retry 3 apt_get update
  apt_get upgrade
}

# What projects need to build the packages they ask for, and the programs of the other steps.
packages() {
  apt_install \
    build-essential pkg-config python3 python3-dev python3-venv \
    libpq-dev libmariadb-dev libjpeg-dev zlib1g-dev libfreetype6-dev libffi-dev libssl-dev \
    libxml2-dev libxslt1-dev gettext git curl ca-certificates sqlite3 nftables util-linux \
    libmagic1 libglib2.0-0 libcairo2-dev libpango-1.0-0 libpangoft2-1.0-0
  # Newer releases have the former names of time zones apart.
  if apt-cache show tzdata-legacy >/dev/null 2>&1; then apt_install tzdata-legacy; fi
}

# The servers of the databases that projects name. Each runs only on a machine whose project wants it.
databases() {
  apt_install postgresql mariadb-server
  systemctl disable --now postgresql mariadb
}

nginx() {
  apt_install nginx
  rm -f /etc/nginx/sites-enabled/default
  command nginx -t
  systemctl enable nginx
}

# Supervisor reads the program of the release that serves, and of the one that is being checked.
supervisor() {
  apt_install supervisor
  sed -i 's|^files *=.*|files = /etc/supervisor/conf.d/*.conf /srv/app/current/supervisor.conf /srv/app/next/supervisor.conf|' \
    /etc/supervisor/supervisord.conf
  grep -q /srv/app/next/supervisor.conf /etc/supervisor/supervisord.conf
  systemctl enable supervisor
}

# Downloads from a bucket of Amazon's: `from_amazon URL FILE`.
from_amazon() {
  curl -fsS --retry 5 --connect-timeout 20 --max-time 300 -o "$2" "$1" ||
    cure "$1 was not reached. The builder's subnet needs a way to S3: an internet gateway and a public IP, a NAT" \
      "gateway or a gateway endpoint."
}

# The agent of CodeDeploy, from the bucket of the machine's own region.
# https://docs.aws.amazon.com/codedeploy/latest/userguide/codedeploy-agent-operations-install-ubuntu.html
codedeploy() {
  if ! on_ec2; then
    echo "CodeDeploy's agent runs only on EC2; this machine is not there."
    return
  fi
  local region domain
  region=$(metadata placement/region)
  domain=$(metadata services/domain)
  apt_install ruby wget
  from_amazon "https://aws-codedeploy-$region.s3.$region.$domain/latest/install" /tmp/codedeploy-install
  timeout -k 10 600 ruby /tmp/codedeploy-install auto ||
    cure "CodeDeploy's agent does not install on this base: choose one that CodeDeploy supports, an Ubuntu LTS, as BASE_AMI."
  rm -f /tmp/codedeploy-install
  systemctl enable codedeploy-agent
}

# The agent of Systems Manager, which brings the site's later scripts. Ubuntu's own images have it as a snap.
# https://docs.aws.amazon.com/systems-manager/latest/userguide/agent-install-ubuntu-64-snap.html
# https://docs.aws.amazon.com/systems-manager/latest/userguide/verify-agent-signature.html has the package's address.
ssm() {
  if ! on_ec2; then
    echo "The SSM agent runs only on EC2; this machine is not there."
    return
  fi
  local unit region domain
  if command -v snap >/dev/null; then timeout 300 snap wait system seed.loaded || true; fi
  for unit in snap.amazon-ssm-agent.amazon-ssm-agent amazon-ssm-agent; do
    if systemctl cat "$unit" >/dev/null 2>&1; then
      systemctl enable "$unit"
      echo "The SSM agent is there already."
      return
    fi
  done
  region=$(metadata placement/region)
  domain=$(metadata services/domain)
  from_amazon "https://s3.$region.$domain/amazon-ssm-$region/latest/debian_$(dpkg --print-architecture)/amazon-ssm-agent.deb" \
    /tmp/amazon-ssm-agent.deb
  apt_install /tmp/amazon-ssm-agent.deb ||
    cure "The SSM agent does not install on this base: choose one that Systems Manager supports, an Ubuntu LTS, as BASE_AMI."
  rm -f /tmp/amazon-ssm-agent.deb
  systemctl enable amazon-ssm-agent
}

# uv, the user that projects run as, and a cache with what nearly every project needs.
python() {
  python3 -m venv /tmp/pip
  rm -rf "$EC_LIB/uv"
  retry 3 timeout -k 10 300 /tmp/pip/bin/pip install -q --disable-pip-version-check --no-deps --no-compile \
    --target "$EC_LIB/uv" "uv==$UV_VERSION"
  rm -rf /tmp/pip
  ln -sfn "$EC_LIB/uv/bin/uv" /usr/local/bin/uv
  uv --version
  make_user
  as_app 300 uv venv -q /srv/app/home/warm
  retry 3 as_app 300 uv pip install --python /srv/app/home/warm "${EC_BASICS[@]}" "$EC_DJANGO_LTS"
  rm -rf /srv/app/home/warm
}

cleanup() {
  apt_get autoremove --purge
  apt_get clean
  rm -rf /var/lib/apt/lists/* /root/.cache
  # A copy of a machine must not carry its identity; systemd makes one at the next boot.
  : >/etc/machine-id
}

# A step that fails leaves nothing to put back: the image is not made.
undo() {
  echo "The image is not made."
}

after() {
  end_log
  sync
  systemctl poweroff
}

# Whatever happens, a builder does not run, and cost, for ever.
trap 'systemctl poweroff' EXIT
systemd-run --quiet --unit=ec-image-end --on-active=40min systemctl poweroff
install -d -m 755 "$EC_LOGS"
unpack
log_to "$EC_LOGS/image.log"
trap on_exit EXIT
for name in update packages databases nginx supervisor codedeploy ssm python cleanup; do
  step "$name"
done
mark "done"
