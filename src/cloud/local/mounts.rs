//! Mounts of this host: what is mounted, a machine's root, and taking it away.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
};

use super::Layers;
use crate::cloud::CloudError;

/// How long an unmount waits for a machine's last process to be gone; the kernel takes a moment.
const BUSY: Duration = Duration::from_secs(5);

/// Every mount point of this thread's view, in the order they were mounted.
pub(super) fn mount_points() -> io::Result<Vec<PathBuf>> {
    Ok(parse(&fs::read("/proc/thread-self/mountinfo")?))
}

/// The mount points of a `mountinfo` text: its fifth field, with spaces and such as octal numbers.
/// <https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html>
fn parse(text: &[u8]) -> Vec<PathBuf> {
    text.split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        .collect()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &rest[4..] } else { tail };
    }
    bytes
}

/// Mounts a root of layers: what is below stays as it is, what the machine writes lands in its own.
pub(super) fn mount_layers(layers: &Layers<'_>) -> Result<(), CloudError> {
    let option = |name: &str, path: &Path| {
        let mut text = OsString::from(format!("{name}="));
        text.push(path);
        text
    };
    let mut options = option("lowerdir", layers.lower);
    for (name, path) in [("upperdir", &layers.upper), ("workdir", &layers.work)] {
        options.push(",");
        options.push(option(name, path));
    }
    for directory in [&layers.upper, &layers.work, &layers.root] {
        fs::create_dir_all(directory).map_err(|error| {
            CloudError::later("The machine's directory cannot be written.").because(error)
        })?;
    }
    mount(Some("overlay"), &layers.root, Some("overlay"), MsFlags::empty(), Some(options.as_os_str()))
        .map_err(|error| {
            CloudError::later(
                "A root of layers could not be mounted: put STATE_DIR on an ext4 or xfs file system of this \
                 host, not on a network drive or inside a container's own root.",
            )
            .because(error)
        })
}

/// Takes away whatever is mounted at a path or below it. Nothing mounted is no error.
pub(super) fn unmount(path: &Path) -> Result<(), CloudError> {
    let failed = |error: io::Error| {
        CloudError::later(format!("{} could not be unmounted.", path.display())).because(error)
    };
    let deadline = Instant::now() + BUSY;
    loop {
        let points = mount_points().map_err(failed)?;
        let Some(last) = points.iter().rev().find(|point| point.starts_with(path)) else {
            return Ok(());
        };
        let flags = if Instant::now() < deadline { MntFlags::UMOUNT_NOFOLLOW } else { MntFlags::MNT_DETACH };
        match umount2(last, flags) {
            // Someone else was faster, or it is about to be.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(Errno::EBUSY) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(failed(error.into())),
        }
        if Instant::now() > deadline + BUSY {
            return Err(failed(io::ErrorKind::ResourceBusy.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_spaces_and_backslashes() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            46 27 0:4 net:[4026532178] /var/lib/a\\040b\\134c/netns rw shared:1 - nsfs nsfs rw\n\
            47 27 0:4 / /odd\\9 rw - nsfs nsfs rw\n";
        assert_eq!(
            parse(text),
            [Path::new("/proc"), Path::new("/var/lib/a b\\c/netns"), Path::new("/odd\\9")]
        );
        assert!(mount_points().unwrap().contains(&PathBuf::from("/proc")));
    }

    #[test]
    fn what_is_not_mounted_is_unmounted_already() {
        unmount(Path::new("/nowhere")).unwrap();
    }
}
