#!/bin/bash
# The machine itself, before any project: its units, its names, what its project may not reach.
# A part of userdata_provision.sh, which comes after it in the same script.

write_units() {
  local changed=''
  [[ -f $STATE/units ]] || changed=1
  rm -f "$STATE/units"
  renew /etc/tmpfiles.d/ec-deployer.conf <<'UNIT' && changed=1
d /run/ec-deployer 0750 app www-data
UNIT
  renew /etc/systemd/system/ec-deployer-ship.service <<'UNIT' && changed=1
[Unit]
Description=Ships deploy logs to the site
After=network-online.target
Wants=network-online.target
ConditionDirectoryNotEmpty=/var/lib/ec-deployer/ship
[Service]
EnvironmentFile=-/etc/environment
ExecStart=/usr/bin/python3 -IS /opt/ec-deployer/ship.py
Restart=on-failure
RestartSec=5
[Install]
WantedBy=multi-user.target
UNIT
  # A deployment that a restart cut short leaves `next` and perhaps a half migrated database behind; the release
  # before it still is `current`.
  renew /etc/systemd/system/ec-deployer-address.service <<'UNIT' && changed=1
[Unit]
Description=Keeps the names of this machine true, before the project starts
After=network-online.target postgresql.service mariadb.service
Wants=network-online.target
Before=supervisor.service nginx.service
[Service]
Type=oneshot
ExecStart=-/usr/sbin/nft -f /etc/ec-deployer/metadata.nft
ExecStart=-/usr/bin/python3 -IS /opt/ec-deployer/machine.py settle
ExecStart=/usr/bin/python3 -IS /opt/ec-deployer/machine.py address
[Install]
WantedBy=multi-user.target
UNIT
  # On EC2 an Elastic IP may be given and taken while the machine runs.
  renew /etc/systemd/system/ec-deployer-watch.service <<'UNIT' && changed=1
[Unit]
Description=Keeps the names of this machine true while it runs, on EC2
After=ec-deployer-address.service
[Service]
ExecCondition=/bin/grep -q ^aws /run/cloud-init/cloud-id
ExecStart=/usr/bin/python3 -IS /opt/ec-deployer/machine.py watch
Restart=always
RestartSec=5
[Install]
WantedBy=multi-user.target
UNIT
  # The metadata service tells the machine's secrets to whoever asks; the project's code may not.
  renew /etc/ec-deployer/metadata.nft <<UNIT && changed=1
add table inet ec_deployer
delete table inet ec_deployer
table inet ec_deployer {
  chain output {
    type filter hook output priority 0;
    meta skuid $(id -u app) ip daddr 169.254.169.254 reject
    meta skuid $(id -u app) ip6 daddr fd00:ec2::254 reject
  }
}
UNIT
  if [[ -n $changed ]]; then
    systemd-tmpfiles --create /etc/tmpfiles.d/ec-deployer.conf
    systemctl daemon-reload
    systemctl -q enable ec-deployer-ship ec-deployer-address ec-deployer-watch
  fi
  : >"$STATE/units"
}
