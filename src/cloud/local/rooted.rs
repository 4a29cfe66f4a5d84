//! Files inside a machine's root. Every path is resolved as the machine would resolve it: a symbolic
//! link in there, absolute or not, never leads out to the host's own files.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2},
    sys::stat::Mode,
};

/// A directory that stands for `/`.
pub(super) struct Rooted(OwnedFd);

/// A directory inside, held open; its path stays good while it is.
struct Directory(OwnedFd);

impl Directory {
    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

impl Rooted {
    /// The root at `path` of the host.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?))
    }

    fn resolve(&self, path: &str, flags: OFlag) -> io::Result<OwnedFd> {
        let path = match path.trim_start_matches('/') {
            "" => ".",
            path => path,
        };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        Ok(openat2(self.0.as_fd(), path, how)?)
    }

    fn directory(&self, path: &str) -> io::Result<Directory> {
        Ok(Directory(self.resolve(path, OFlag::O_PATH | OFlag::O_DIRECTORY)?))
    }

    /// The directory of a path's last name, and that name.
    fn parent<'a>(&self, path: &'a str) -> io::Result<(Directory, &'a str)> {
        let (parent, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", path));
        if matches!(name, "" | "." | "..") {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path} names no file")));
        }
        Ok((self.directory(parent)?, name))
    }

    /// Makes a directory and those above it that are not there.
    pub(super) fn make_directories(&self, path: &str, mode: u32) -> io::Result<()> {
        let mut done = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let above = self.directory(&done)?;
            match fs::DirBuilder::new().mode(mode).create(above.path().join(part)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            done = format!("{done}/{part}");
        }
        Ok(())
    }

    /// Puts a file in place whole, instead of whatever was there; never through a link.
    pub(super) fn write(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (directory, name) = self.parent(path)?;
        let unfinished = directory.path().join(format!(".{name}.ec-new"));
        let _ = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        fs::rename(unfinished, directory.path().join(name))
    }

    /// Puts a symbolic link in place, instead of whatever file was there.
    pub(super) fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let (directory, name) = self.parent(path)?;
        let at = directory.path().join(name);
        match fs::remove_file(&at) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => std::os::unix::fs::symlink(target, at),
        }
    }

    /// Opens a regular file for reading.
    pub(super) fn read(&self, path: &str) -> io::Result<File> {
        // Without O_NONBLOCK a named pipe would be waited on for ever.
        let file = File::from(self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is not a regular file")))
        }
    }

    /// Whether there is anything at the path, links followed.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.resolve(path, OFlag::O_PATH).is_ok()
    }

    /// Removes what is at the path, a directory with all that is in it. Nothing there is no error.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let (directory, name) = match self.parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            parent => parent?,
        };
        remove(&directory.path().join(name))
    }

    /// Removes all that is in a directory and keeps it.
    pub(super) fn empty(&self, path: &str) -> io::Result<()> {
        let directory = match self.directory(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            directory => directory?,
        };
        for entry in fs::read_dir(directory.path())? {
            remove(&entry?.path())?;
        }
        Ok(())
    }

    /// Removes the regular files below a directory, but not the directories, and nothing in `but`.
    pub(super) fn remove_files(&self, path: &str, but: &[&str]) -> io::Result<()> {
        let directory = self.directory(path)?;
        for entry in fs::read_dir(directory.path())? {
            let entry = entry?;
            let name = entry.file_name();
            let inside = format!("{path}/{}", name.to_string_lossy());
            if but.contains(&inside.as_str()) {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.remove_files(&inside, but)?;
            } else if kind.is_file() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Removes a file, a link, or a directory with all that is in it. Nothing there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn links_inside_never_lead_out() {
        let host = tempfile::tempdir().unwrap();
        let secret = host.path().join("secret");
        fs::write(&secret, "host").unwrap();
        let root = host.path().join("root");
        fs::create_dir_all(root.join("etc")).unwrap();
        std::os::unix::fs::symlink(host.path(), root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../../..", root.join("etc/up")).unwrap();
        std::os::unix::fs::symlink(&secret, root.join("etc/resolv.conf")).unwrap();
        let rooted = Rooted::open(&root).unwrap();

        rooted.write("/etc/resolv.conf", b"machine", 0o644).unwrap();
        assert_eq!(fs::read_to_string(&secret).unwrap(), "host");
        assert_eq!(fs::read_to_string(root.join("etc/resolv.conf")).unwrap(), "machine");
        assert!(rooted.write("/absolute/secret", b"machine", 0o644).is_err());
        rooted.write("/etc/up/up", b"machine", 0o644).unwrap();
        assert_eq!(fs::read_to_string(root.join("up")).unwrap(), "machine");
        assert!(rooted.read("/absolute/secret").is_err());
        rooted.remove("/absolute/secret").unwrap();
        rooted.empty("/etc").unwrap();
        assert!(secret.exists() && root.join("etc").exists() && !root.join("etc/up").exists());
    }

    #[test]
    fn files_are_put_in_place_whole_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let rooted = Rooted::open(dir.path()).unwrap();
        rooted.make_directories("/var/log/nginx", 0o755).unwrap();
        rooted.make_directories("/var/log/nginx", 0o755).unwrap();
        rooted.write("/var/log/nginx/error.log", b"a", 0o600).unwrap();
        rooted.write("/var/log/ours", b"b", 0o600).unwrap();
        let mode = fs::metadata(dir.path().join("var/log/ours")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut text = String::new();
        rooted.read("/var/log/ours").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "b");
        rooted.remove_files("/var/log", &["/var/log/ours"]).unwrap();
        assert!(rooted.exists("/var/log/ours") && rooted.exists("/var/log/nginx"));
        assert!(!rooted.exists("/var/log/nginx/error.log"));
        rooted.remove("/not/there").unwrap();
        assert!(rooted.write("/etc/..", b"", 0o644).is_err());
    }
}
