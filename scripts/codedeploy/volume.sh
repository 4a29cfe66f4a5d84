#!/bin/bash
# The volume that the site's data is on, which outlives the server.

# Where this machine has the volume of that id, once it is attached.
# https://docs.aws.amazon.com/ebs/latest/userguide/nvme-ebs-volumes.html
device_of() {
  local link=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${1/-/} waited
  for ((waited = 0; waited < 120; waited++)); do
    if [[ -b $link ]]; then
      readlink -f "$link"
      return
    fi
    sleep 1
  done
  cure "Volume $1 is not attached to this server after two minutes: look at it in the EC2 console."
}

# Whether the beginning of a device can be read and has nothing on it.
is_blank() {
  python3 -IS -c '
import sys
beginning = open(sys.argv[1], "rb").read(64 << 20)
sys.exit(not beginning or bool(beginning.strip(b"\0")))
' "$1"
}

# Mounts a device at a directory, now and at every boot, and makes a file system where there is none at all:
# `mount_data DEVICE DIRECTORY`.
mount_data() {
  local found=0 kind uuid
  if ! mountpoint -q "$2"; then
    if [[ -e $2/deployer.db ]]; then
      cure "$2 has a database on the server's own disk, which the volume would hide: back it up, move it away, release again" \
        "and restore it."
      return
    fi
    kind=$(blkid --probe --output value --match-tag TYPE "$1") || found=$?
    # 2: nothing at all is found, also where it cannot be read. https://man7.org/linux/man-pages/man8/blkid.8.html
    if ((found == 2)) && is_blank "$1"; then
      echo "$1 is blank: it gets a file system."
      mkfs.ext4 -q -m 1 "$1"
    elif [[ $kind != ext4 ]]; then
      cure "$1 holds ${kind:-what cannot be told}, which is not the site's data: it is left alone."
      return
    fi
    uuid=$(blkid --probe --output value --match-tag UUID "$1")
    # A server without its volume boots all the same, so that it can be looked at; the site waits for it.
    grep -v " $2 " /etc/fstab >/etc/fstab.new || true
    echo "UUID=$uuid $2 ext4 defaults,nofail,x-systemd.device-timeout=60s 0 2" >>/etc/fstab.new
    mv -f /etc/fstab.new /etc/fstab
    install -d -m 755 /etc/systemd/system/supervisor.service.d
    printf '[Unit]\nRequiresMountsFor=%s\n' "$2" | put /etc/systemd/system/supervisor.service.d/ec-deployer.conf
    systemctl daemon-reload || true
    mount "$1" "$2"
  fi
  echo "$(findmnt --noheadings --output SOURCE,SIZE,AVAIL --target "$2") at $2"
}
