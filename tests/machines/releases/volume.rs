//! The volume of the site's data, on a disk that is a file of this host.

/// Puts the functions to a disk: blank, with a file system, with something that is none. In a mount namespace of its
/// own, with an /etc of its own.
const TRIAL: &str = r#"
set -euo pipefail
cd "$(mktemp -d)"
for name in blank filled odd hurt; do truncate -s 64M $name; done
mkfs.ext4 -q hurt && dd if=/dev/zero of=hurt bs=4096 count=1 conv=notrunc status=none
mkfs.ext4 -q filled && mkdir m && mount -o loop filled m && echo kept >m/file && umount m
printf 'LUKS\xba\xbe\x00\x01' | dd of=odd conv=notrunc status=none
mkdir etc && echo 'UUID=other /srv ext4 defaults 0 2' >etc/fstab
mount --bind etc /etc
systemctl() { :; }
source "$1/scripts/lib.sh"
source "$1/scripts/codedeploy/volume.sh"
for name in blank filled; do
  device=$(losetup --find --show $name)
  trap 'losetup -d $device' EXIT
  mkdir -p data
  mount_data "$device" "$PWD/data"
  mount_data "$device" "$PWD/data"
  ls data
  umount data
  # The next time there is a file system, and nothing of it is lost.
  mount "$device" data && touch data/second && umount data
  mount_data "$device" "$PWD/data" && ls data && umount data
  losetup -d "$device"
  trap - EXIT
done
echo "fstab: $(grep -c " $PWD/data ext4 defaults,nofail" /etc/fstab) $(grep -c ' /srv ' /etc/fstab)"
cat /etc/systemd/system/supervisor.service.d/ec-deployer.conf
touch data/deployer.db
if mount_data "$PWD/blank" "$PWD/data" 2>&1; then echo "the database is hidden"; fi
rm data/deployer.db
if mount_data "$PWD/odd" "$PWD/data" 2>&1; then echo "odd is mounted"; fi
for name in hurt missing; do
  if mount_data "$PWD/$name" "$PWD/data" 2>&1; then echo "$name is mounted"; fi
done
cmp <(head -c 6 odd) <(printf 'LUKS\xba\xbe') && echo "odd is as it was"
"#;

#[test]
fn a_blank_volume_gets_a_file_system_and_one_with_data_keeps_it() {
    let said = super::on_this_host(TRIAL);
    assert_eq!(said.matches("is blank: it gets a file system").count(), 1, "{said}");
    assert!(said.contains("\nfile\n"), "what was there is there: {said}");
    assert_eq!(said.matches("second").count(), 2, "{said}");
    assert!(said.contains("fstab: 1 1"), "one line for it, and the others kept: {said}");
    assert!(said.contains("RequiresMountsFor="), "the site waits for it: {said}");
    assert!(said.contains("holds crypto_LUKS, which is not the site's data"), "{said}");
    assert!(said.contains("which the volume would hide") && !said.contains("is hidden"), "{said}");
    assert_eq!(said.matches("holds what cannot be told").count(), 2, "what is hurt is not made anew: {said}");
    assert!(!said.contains("hurt is mounted") && !said.contains("missing is mounted"), "{said}");
    assert!(said.contains("odd is as it was") && !said.contains("odd is mounted"), "{said}");
}
