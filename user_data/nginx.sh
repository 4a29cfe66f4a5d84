#!/bin/bash
# What nginx serves, and when it reads that anew.
# A part of userdata_provision.sh, which comes after it in the same script.

CHECK_PORT=9180 # nginx listens here on the loopback for the check of `next`

# What nginx is to have read: as files, and as the process that read them.
nginx_reads() {
  cat /run/nginx.pid /etc/nginx/conf.d/ec-deployer.conf /srv/app/current/nginx.conf /srv/app/next/nginx-next.conf \
    2>/dev/null || true
}

# Lets nginx read its configuration anew, where it has not read it as it is, and waits until no process has the old
# one. Whether it is up is for the check to say: it is never started here.
reload_nginx() {
  if ! systemctl -q is-active nginx; then
    echo "nginx is not running."
    return
  fi
  if nginx_reads | cmp -s - "$STATE/nginx"; then return; fi
  rm -f "$STATE/nginx"
  renew_nginx || return
  nginx_reads | put "$STATE/nginx"
}

# A location of nginx for files: only a plain path becomes one.
location() {
  if [[ $1 =~ ^/([A-Za-z0-9_~-][A-Za-z0-9._~-]*/)+$ ]]; then
    printf 'location ^~ %s { alias %s/; %s }\n' "$1" "$2" "$3"
  else
    echo "nginx serves nothing at \"$1\": it is not a plain path of this site." >&2
  fi
}

# What nginx does for the release that a link, `current` or `next`, leads to.
serve() {
  location "$(fact STATIC_URL)" "/srv/app/$1/static" 'expires 10m;'
  if [[ $(fact MEDIA_URL) != "$(fact STATIC_URL)" ]]; then
    location "$(fact MEDIA_URL)" /srv/app/shared/media 'add_header X-Content-Type-Options nosniff;'
  fi
  cat <<CONF
location / {
  proxy_pass http://unix:/srv/app/$1/socket;
  proxy_set_header Host \$http_host;
  proxy_set_header X-Real-IP \$remote_addr;
  proxy_set_header X-Forwarded-For \$remote_addr;
  proxy_set_header X-Forwarded-Proto \$scheme;
  proxy_read_timeout 60s;
}
CONF
}

configure_nginx() {
  local ipv6=''
  if [[ -e /proc/net/if_inet6 ]]; then ipv6='listen [::]:80 default_server;'; fi
  serve current | put "$RELEASE/nginx.conf"
  serve next | put "$RELEASE/nginx-next.conf"
  put /etc/nginx/conf.d/ec-deployer.conf <<CONF
client_max_body_size 20m;
server_tokens off;
gzip_vary on;
gzip_proxied any;
gzip_types text/css text/javascript application/javascript application/json image/svg+xml;
server {
  listen 80 default_server;
  $ipv6
  root /nonexistent;
  include /srv/app/curren[t]/nginx.conf;
}
server {
  listen 127.0.0.1:$CHECK_PORT;
  access_log off;
  root /nonexistent;
  include /srv/app/nex[t]/nginx-next.conf;
}
CONF
  rm -f /etc/nginx/sites-enabled/default
  point /srv/app/next "$RELEASE"
  nginx_reads | cmp -s - "$STATE/nginx" || nginx -t -q
}
