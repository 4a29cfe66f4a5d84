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
  apt_get install --no-install-recommends \
    build-essential pkg-config python3 python3-dev python3-venv \
    libpq-dev libmariadb-dev libjpeg-dev zlib1g-dev libfreetype6-dev libffi-dev libssl-dev \
    libxml2-dev libxslt1-dev gettext git curl ca-certificates sqlite3 nftables util-linux
}

nginx() {
  apt_get install --no-install-recommends nginx
  rm -f /etc/nginx/sites-enabled/default
  command nginx -t
  systemctl enable nginx
}

# Supervisor reads the program of the release that serves, and of the one that is being checked.
supervisor() {
  apt_get install --no-install-recommends supervisor
  sed -i 's|^files *=.*|files = /etc/supervisor/conf.d/*.conf /srv/app/current/supervisor.conf /srv/app/next/supervisor.conf|' \
    /etc/supervisor/supervisord.conf
  grep -q /srv/app/next/supervisor.conf /etc/supervisor/supervisord.conf
  systemctl enable supervisor
}

# The agent of CodeDeploy, from the bucket of the machine's own region.
codedeploy() {
  if ! on_ec2; then
    echo "CodeDeploy's agent runs only on EC2; this machine is not there."
    return
  fi
  local imds=http://169.254.169.254/latest token region domain
  token=$(curl -fsS --retry 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 300' "$imds/api/token")
  region=$(curl -fsS --retry 5 -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/placement/region")
  domain=$(curl -fsS --retry 5 -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/services/domain")
  apt_get install --no-install-recommends ruby wget
  curl -fsS --retry 5 -o /tmp/codedeploy-install \
    "https://aws-codedeploy-$region.s3.$region.$domain/latest/install"
  timeout -k 10 600 ruby /tmp/codedeploy-install auto
  rm -f /tmp/codedeploy-install
  systemctl enable codedeploy-agent
}

# uv, the user that projects run as, and a cache with what nearly every project needs.
python() {
  python3 -m venv /tmp/pip
  rm -rf "$EC_LIB/uv"
  retry 3 /tmp/pip/bin/pip install -q --disable-pip-version-check --no-deps --no-compile \
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

install -d -m 755 "$EC_LOGS"
unpack
log_to "$EC_LOGS/image.log"
trap on_exit EXIT
for name in update packages nginx supervisor codedeploy python cleanup; do
  step "$name"
done
mark "done"
