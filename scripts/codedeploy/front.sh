#!/bin/bash
# nginx in front of the site, and the certificate of its name.

WEBROOT=/var/www/ec-deployer # what Let's Encrypt asks for is put here
SECURED=$SETTINGS/secured    # the name that is served with TLS
TOLD=$SETTINGS/told          # the one that the site was told of
CERTIFICATE=/etc/letsencrypt/live/site

# The address by which others reach this server.
own_address() {
  if on_ec2; then
    metadata public-ipv4 || metadata local-ipv4
  else
    # Which of its own addresses it would send from; nothing is sent.
    ip -4 -oneline route get 192.0.2.1 | sed -n 's/.* src \([0-9.]*\).*/\1/p'
  fi
}

# The site's name, where it has one; only a name can become a part of nginx's configuration.
site_domain() {
  local name
  name=$(setting "$SETTINGS/site.env" SITE_DOMAIN)
  name=${name,,}
  if [[ -n $name && ! $name =~ ^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]$ ]]; then
    cure "SITE_DOMAIN is \"$name\", which is no domain name like deploy.example.com."
    return
  fi
  printf '%s' "$name"
}

# The name that is served with TLS; nothing where it is served without.
secured() {
  cat "$SECURED" 2>/dev/null || true
}

# Where people find the site.
front_url() {
  local name
  name=$(secured)
  if [[ -n $name ]]; then echo "https://$name"; else echo "http://$(cat "$SETTINGS/address")"; fi
}

# Asks for a path as people do, but that the way out of this server and back is left out.
asked_through_nginx() {
  local url ask=(curl -fsS --noproxy '*' --max-time 20)
  url=$(front_url)
  # A certificate of another authority than Let's Encrypt may be for trials only.
  if [[ -n $(setting "$SETTINGS/site.env" ACME_SERVER) ]]; then ask+=(--insecure); fi
  "${ask[@]}" --connect-to ::127.0.0.1: "$url$1"
}

# What nginx does with what people and machines ask of the site.
locations() {
  cat <<'CONF'
  # A form has 64 KiB at most, and a piece of a deploy log 256 KiB.
  client_max_body_size 512k;
  location / {
    proxy_pass http://site;
    proxy_read_timeout 75s;
  }
  # Events go out as they come; each stream says something every 15 seconds.
  location ~ (^|/)events$ {
    proxy_pass http://site;
    proxy_buffering off;
    gzip off;
    proxy_read_timeout 75s;
  }
CONF
  from_machines /fetches/
}

# Databases and media files that machines send: as they come, and nothing of them on this disk twice.
from_machines() {
  cat <<CONF
  location $1 {
    proxy_pass http://site;
    client_max_body_size 2000m;
    client_body_timeout 150s;
    proxy_request_buffering off;
    proxy_read_timeout 150s;
  }
CONF
}

front_conf() {
  local name ipv6='' acme
  name=$(secured)
  if [[ -e /proc/net/if_inet6 ]]; then ipv6=1; fi
  acme="  location ^~ /.well-known/acme-challenge/ { root $WEBROOT; default_type text/plain; }"
  cat <<'CONF'
server_tokens off;
# Of a site that is being replaced nobody is told: what is asked waits in its socket.
upstream site { server 127.0.0.1:8000 max_fails=0; }
proxy_http_version 1.1;
proxy_set_header Host $http_host;
proxy_set_header X-Forwarded-For $remote_addr;
proxy_set_header X-Forwarded-Proto $scheme;
# Downloads go out as fast as they are taken, and not by way of this disk.
proxy_max_temp_file_size 0;
CONF
  if [[ -z $name ]]; then
    echo "server {"
    echo "  listen 80 default_server;"
    if [[ -n $ipv6 ]]; then echo "  listen [::]:80 default_server;"; fi
    echo "$acme"
    locations
    echo "}"
    return
  fi
  echo "server {"
  echo "  listen 80 default_server;"
  if [[ -n $ipv6 ]]; then echo "  listen [::]:80 default_server;"; fi
  echo "$acme"
  # Machines that were told of the site before it had TLS follow no redirect: they come to the end of what they are at,
  # and get no secrets by this way.
  from_machines '~ ^/(deployments/[0-9]+/(log|programs|requirements)|fetches/[0-9]+(/failed)?)$'
  echo "  location / { return 301 https://$name\$request_uri; }"
  echo "}"
  echo "server {"
  echo "  listen 443 ssl http2 default_server;"
  if [[ -n $ipv6 ]]; then echo "  listen [::]:443 ssl http2 default_server;"; fi
  cat <<CONF
  ssl_certificate $CERTIFICATE/fullchain.pem;
  ssl_certificate_key $CERTIFICATE/privkey.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:site:2m;
  ssl_session_tickets off;
  # Its certificate says who this is: by another name or the address nobody is to use it.
  if (\$host != $name) { return 301 https://$name\$request_uri; }
CONF
  locations
  echo "}"
}

# Gives nginx the configuration of the site as it is served now. One that nginx does not take is not kept.
write_front() {
  local conf=/etc/nginx/conf.d/ec-deployer.conf unread=''
  install -d -m 755 "$WEBROOT"
  rm -f /etc/nginx/sites-enabled/default
  # The one before is kept until nginx has read the new one: where it is still there, that was cut short.
  if [[ -e $conf.old ]]; then
    unread=1
  else
    { cat "$conf" 2>/dev/null || true; } | put "$conf.old"
  fi
  front_conf | put "$conf"
  if [[ -n $unread ]] || ! cmp -s "$conf" "$conf.old"; then
    if ! nginx -t -q; then
      mv -f "$conf.old" "$conf"
      cure "nginx does not take its configuration, see above: it goes on with the one before."
      return
    fi
    if systemctl -q is-active nginx; then renew_nginx || return; fi
  fi
  rm -f "$conf.old"
  systemctl -q is-active nginx || systemctl start nginx
}

# Whether a name leads to this server, as whoever gives the certificate will look.
leads_here() {
  local address found other
  address=$(cat "$SETTINGS/address")
  found=$(getent ahosts "$1" | awk '{ print $1 }' | sort -u | paste -sd' ') || found=
  if [[ " $found " != *" $address "* ]]; then
    cure "$1 leads to ${found:-nowhere}, and this server is at $address: give the name an A record with that address." \
      "It is tried again every hour."
    return
  fi
  for other in $found; do
    if [[ $other == *:* ]] && ! ip -6 -oneline addr | grep -qF " $other/"; then
      cure "$1 also leads to $other, which is not this server: remove its AAAA record. It is tried again every hour."
      return
    fi
  done
}

# Whether there is a certificate that is of this name, and not over.
has_certificate() {
  [[ -s $CERTIFICATE/fullchain.pem ]] &&
    openssl x509 -in "$CERTIFICATE/fullchain.pem" -noout -checkend 0 >/dev/null &&
    [[ $(openssl x509 -in "$CERTIFICATE/fullchain.pem" -noout -checkhost "$1") == *'does match'* ]]
}

# Has the certificate of the name made, or made anew; certbot's own timer renews it. Who calls this looks at its
# status, so that a command that fails does not end it by itself.
certificate() {
  local server email ask=(certonly --non-interactive --agree-tos --webroot --webroot-path "$WEBROOT"
    --cert-name site --domain "$1" --renew-with-new-domains --keep-until-expiring
    --deploy-hook 'systemctl reload nginx')
  server=$(setting "$SETTINGS/site.env" ACME_SERVER)
  email=$(setting "$SETTINGS/site.env" SITE_EMAIL)
  if [[ -n $server ]]; then ask+=(--server "$server"); fi
  if [[ -n $email ]]; then ask+=(--email "$email"); else ask+=(--register-unsafely-without-email); fi
  if ! command -v certbot >/dev/null; then
    # A hook has its time: what is slower than this is tried again later.
    EC_APT_PATIENCE=600 apt_get update || return
    EC_APT_PATIENCE=600 apt_install certbot || return
  fi
  timeout -k 10 300 certbot "${ask[@]}" || return
  systemctl -q enable --now certbot.timer
}

# Tries again every hour, from now on or no more: `try_again on|off`.
try_again() {
  if [[ $1 == off ]]; then
    systemctl -q disable --now ec-deployer-tls.timer 2>/dev/null || true
    return
  fi
  put /etc/systemd/system/ec-deployer-tls.service <<'UNIT'
[Unit]
Description=Asks for the certificate of the site's name
[Service]
Type=oneshot
ExecStart=/opt/ec-deployer/current/scripts/codedeploy/secure.sh
UNIT
  put /etc/systemd/system/ec-deployer-tls.timer <<'UNIT'
[Unit]
Description=Asks for the certificate of the site's name until it is there
[Timer]
OnActiveSec=1h
OnUnitActiveSec=1h
[Install]
WantedBy=timers.target
UNIT
  systemctl daemon-reload
  systemctl -q enable --now ec-deployer-tls.timer
}

# Serves the site as SITE_DOMAIN says: with TLS where it has a name that leads here, else without. What goes wrong
# leaves the site as it was, also under the name that it had before.
secure_front() {
  local name before
  name=$(site_domain) || return
  before=$(secured)
  if [[ -z $name ]]; then
    echo "SITE_DOMAIN is not set: the site is served over http, and what people type can be read on its way."
    rm -f "$SECURED"
  elif [[ $name == "$before" ]] && has_certificate "$name"; then
    echo "$name has its certificate."
  else
    try_again on
    leads_here "$name" || return
    if ! certificate "$name" || ! has_certificate "$name"; then
      cure "There is no certificate for $name, see above. It is tried again every hour."
      return
    fi
    printf '%s\n' "$name" | put "$SECURED"
  fi
  if ! write_front; then
    if [[ -n $before ]]; then printf '%s\n' "$before" | put "$SECURED"; else rm -f "$SECURED"; fi
    write_front || true
    return 1
  fi
  if [[ $(secured) != "$(cat "$TOLD" 2>/dev/null)" ]]; then
    # Its own address is another now.
    restart_site
    wait_for_site "$(readlink "$ROOT/current")" || return
    secured | put "$TOLD"
  fi
  # Not before: where this is cut short it is gone on with.
  try_again off
}
