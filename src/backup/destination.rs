//! Where backups go, and where they come from.

use std::{
    fs,
    io::{self, Read},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    str::FromStr,
};

use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

use super::{About, BackupError, scratch::sync_directory};
use crate::domain::NameError;

/// How the names of backups that name themselves begin and end.
const BEGIN: &str = "ec-deployer-";
const END: &str = ".tar.gz";
/// The time in such a name, in UTC.
const TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

/// The first bytes of each backup: gzip's mark, and deflate, the one method that there is.
/// <https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1>
const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Where a backup goes, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(Typed);

/// Where a backup comes from, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Typed);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Typed {
    Local(PathBuf),
    S3 { bucket: String, key: String },
}

impl FromStr for Typed {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return if text.is_empty() {
                Err(NameError::new("this is no path"))
            } else {
                Ok(Self::Local(PathBuf::from(text)))
            };
        };
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(plain) {
            return Err(NameError::new("this is no bucket: s3://bucket/prefix/ or s3://bucket/key.tar.gz"));
        }
        if !cfg!(feature = "ec2") {
            return Err(NameError::new(
                "this program was built without AWS, and cannot reach S3: give a path",
            ));
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl FromStr for Destination {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self)
    }
}

impl FromStr for Source {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.parse()? {
            Typed::S3 { key, .. } if key.is_empty() || key.ends_with('/') => {
                Err(NameError::new("name one backup: s3://bucket/key.tar.gz"))
            }
            typed => Ok(Self(typed)),
        }
    }
}

/// Where a backup goes.
#[derive(Debug)]
pub(super) enum Place {
    File(PathBuf),
    Directory(PathBuf),
    #[cfg_attr(not(feature = "ec2"), allow(dead_code, reason = "without AWS none is read from text"))]
    Object {
        bucket: String,
        key: String,
    },
    #[cfg_attr(not(feature = "ec2"), allow(dead_code, reason = "without AWS none is read from text"))]
    Prefix {
        bucket: String,
        prefix: String,
    },
}

/// A backup in its place.
pub(super) struct Put {
    /// Where that is, as it may be typed.
    pub place: String,
    /// The name that it gave itself.
    pub name: Option<String>,
}

impl Destination {
    /// What it is: a directory that is there is one without a slash at its end too.
    pub(super) fn place(self) -> Place {
        match self.0 {
            Typed::Local(path) if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
                Place::Directory(path)
            }
            Typed::Local(path) => Place::File(path),
            Typed::S3 { bucket, key } if key.is_empty() || key.ends_with('/') => {
                Place::Prefix { bucket, prefix: key }
            }
            Typed::S3 { bucket, key } => Place::Object { bucket, key },
        }
    }
}

impl Source {
    /// The backup as a file, fetched into `scratch` where it is elsewhere.
    pub(super) async fn file(self, scratch: &super::Scratch) -> Result<PathBuf, BackupError> {
        match self.0 {
            Typed::Local(path) => {
                if path.is_dir() {
                    return Err(BackupError::Refused(format!(
                        "{} is a directory: name one backup in it",
                        path.display()
                    )));
                }
                Ok(path)
            }
            #[cfg(feature = "ec2")]
            Typed::S3 { bucket, key } => {
                let path = scratch.path("fetched.tar.gz");
                super::bucket::S3::new().await.get(&bucket, &key, &path).await?;
                Ok(path)
            }
            #[cfg(not(feature = "ec2"))]
            Typed::S3 { .. } => {
                let _ = scratch;
                Err(without_aws())
            }
        }
    }
}

#[cfg(not(feature = "ec2"))]
fn without_aws() -> BackupError {
    BackupError::refused("this program was built without AWS, and cannot reach S3")
}

impl Place {
    /// Whether a backup there names itself.
    pub fn names_itself(&self) -> bool {
        matches!(self, Self::Directory(_) | Self::Prefix { .. })
    }

    /// Where it can be made until it is whole: a directory beside it. One that is missing is made, where it was asked
    /// for by a slash at its end.
    pub fn scratch_root(&self, state_dir: &Path) -> Result<PathBuf, BackupError> {
        use std::os::unix::fs::DirBuilderExt;
        match self {
            Self::Directory(path) => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(path).about(path)?;
                Ok(path.clone())
            }
            Self::File(path) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                Ok(parent.unwrap_or(Path::new(".")).to_owned())
            }
            Self::Object { .. } | Self::Prefix { .. } => Ok(state_dir.to_owned()),
        }
    }

    /// Refuses to take the place of a file that is no backup: the database itself, or a key.
    ///
    /// # Errors
    /// Where there is one, or what is there cannot be read.
    pub fn refuse_other_file(&self) -> Result<(), BackupError> {
        let Self::File(path) = self else { return Ok(()) };
        if is_free_or_backup(path).about(path)? {
            return Ok(());
        }
        Err(BackupError::Refused(format!(
            "{} is there, is no backup, and would be lost: give the backup another name",
            path.display()
        )))
    }

    /// Puts a backup there, whole or not at all.
    pub async fn put(&self, packed: &Path) -> Result<Put, BackupError> {
        match self {
            Self::File(path) => {
                fs::rename(packed, path).about(path)?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                sync_directory(parent.unwrap_or(Path::new("."))).about(path)?;
                Ok(Put { place: path.display().to_string(), name: None })
            }
            Self::Directory(directory) => {
                let name = link_anew(packed, directory)?;
                Ok(Put { place: directory.join(&name).display().to_string(), name: Some(name) })
            }
            #[cfg(feature = "ec2")]
            Self::Object { bucket, key } => {
                super::bucket::S3::new().await.put(bucket, key, packed, false).await?;
                Ok(Put { place: format!("s3://{bucket}/{key}"), name: None })
            }
            #[cfg(feature = "ec2")]
            Self::Prefix { bucket, prefix } => {
                let s3 = super::bucket::S3::new().await;
                let now = OffsetDateTime::now_utc();
                let mut n = 1;
                let name = loop {
                    let name = name_of(now, n);
                    if s3.put(bucket, &format!("{prefix}{name}"), packed, true).await? {
                        break name;
                    }
                    n += 1;
                };
                Ok(Put { place: format!("s3://{bucket}/{prefix}{name}"), name: Some(name) })
            }
            #[cfg(not(feature = "ec2"))]
            Self::Object { .. } | Self::Prefix { .. } => Err(without_aws()),
        }
    }

    /// Removes the backups there that named themselves, are older than `newest` and beyond `keep`; notes each that it
    /// has removed.
    pub async fn prune(
        &self,
        newest: &str,
        keep: NonZeroUsize,
        removed: &mut Vec<String>,
    ) -> Result<(), BackupError> {
        match self {
            Self::Directory(directory) => {
                for old in surplus(names_in(directory)?, newest, keep) {
                    let path = directory.join(&old);
                    match fs::remove_file(&path) {
                        // Another backup, made at the same time, was faster.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        done => {
                            done.about(&path)?;
                            removed.push(path.display().to_string());
                        }
                    }
                }
            }
            #[cfg(feature = "ec2")]
            Self::Prefix { bucket, prefix } => {
                let s3 = super::bucket::S3::new().await;
                for old in surplus(s3.names(bucket, prefix).await?, newest, keep) {
                    s3.delete(bucket, &format!("{prefix}{old}")).await?;
                    removed.push(format!("s3://{bucket}/{prefix}{old}"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether nothing has this name, or a file that begins as each backup does.
fn is_free_or_backup(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
        Ok(there) if !there.is_file() => return Ok(false),
        Ok(_) => {}
    }
    let mut begin = Vec::new();
    fs::File::open(path)?.take(GZIP.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == GZIP)
}

/// The name of the `n`th backup of a second.
fn name_of(time: OffsetDateTime, n: u32) -> String {
    let time = time.format(TIME).unwrap_or_default();
    if n == 1 { format!("{BEGIN}{time}{END}") } else { format!("{BEGIN}{time}-{n}{END}") }
}

/// When a backup that named itself was made, and the how manieth of that second it is.
fn made(name: &str) -> Option<(PrimitiveDateTime, u32)> {
    let stem = name.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let (time, n) = match stem.split_once('-') {
        Some((time, n)) => (time, n.parse().ok().filter(|n| *n > 1)?),
        None => (stem, 1),
    };
    Some((PrimitiveDateTime::parse(time, TIME).ok()?, n))
}

/// Gives a finished file a name of its own in a directory.
fn link_anew(packed: &Path, directory: &Path) -> Result<String, BackupError> {
    let now = OffsetDateTime::now_utc();
    let mut n = 1;
    loop {
        let name = name_of(now, n);
        let path = directory.join(&name);
        // Unlike a rename this never takes another's place.
        match fs::hard_link(packed, &path) {
            Ok(()) => {
                sync_directory(directory).about(directory)?;
                return Ok(name);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => n += 1,
            Err(error) => return Err(error).about(&path),
        }
    }
}

/// The names of a directory's files.
fn names_in(directory: &Path) -> Result<Vec<String>, BackupError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).about(directory)? {
        let entry = entry.about(directory)?;
        if entry.file_type().about(directory)?.is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Which backups are beyond so many, the oldest first: of those that named themselves alone, and never the one that was
/// just made, whatever the clock says.
fn surplus(names: Vec<String>, newest: &str, keep: NonZeroUsize) -> Vec<String> {
    let mut older: Vec<_> = names
        .into_iter()
        .filter(|name| name != newest)
        .filter_map(|name| made(&name).map(|made| (made, name)))
        .collect();
    older.sort();
    let surplus = older.len().saturating_sub(keep.get() - 1);
    older.into_iter().take(surplus).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_what_it_looks_like() {
        let place = |text: &str| text.parse::<Destination>().map(Destination::place);
        assert!(matches!(place("/nowhere/x.tar.gz"), Ok(Place::File(_))));
        assert!(matches!(place("/nowhere/"), Ok(Place::Directory(_))));
        assert!(matches!(place("/tmp"), Ok(Place::Directory(_))));
        for bad in ["", "s3://", "s3:///key", "s3://Bucket/x", "s3://a b/"] {
            assert!(place(bad).is_err(), "{bad}");
        }
        for bad in ["s3://bucket", "s3://bucket/", "s3://bucket/backups/"] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
        if cfg!(feature = "ec2") {
            assert!(matches!(place("s3://bucket"), Ok(Place::Prefix { prefix, .. }) if prefix.is_empty()));
            assert!(
                matches!(place("s3://bucket/a/b/"), Ok(Place::Prefix { prefix, .. }) if prefix == "a/b/")
            );
            assert!(matches!(place("s3://bucket/a/b"), Ok(Place::Object { key, .. }) if key == "a/b"));
        }
    }

    #[test]
    fn what_is_beyond_the_limit_is_the_oldest_that_named_itself() {
        let name = |day: u8, n: u32| {
            name_of(time::macros::datetime!(2026-11-01 05:00:00 UTC).replace_day(day).unwrap(), n)
        };
        assert_eq!(name(24, 1), "ec-deployer-20261124T050000Z.tar.gz");
        assert_eq!(name(24, 10), "ec-deployer-20261124T050000Z-10.tar.gz");
        let there = || {
            let mut names: Vec<_> = [(24, 10), (24, 9), (24, 1), (2, 1)].map(|(day, n)| name(day, n)).into();
            names.extend(
                [
                    "mine.tar.gz",
                    "ec-deployer-.tar.gz",
                    "ec-deployer-20261124T050000Z-1.tar.gz",
                    "ec-deployer-20261324T050000Z.tar.gz",
                    "ec-deployer-20261124T050000Z.tar.gz.part",
                ]
                .map(str::to_owned),
            );
            names
        };
        let keep = |n| NonZeroUsize::new(n).unwrap();
        assert_eq!(surplus(there(), &name(24, 10), keep(4)), Vec::<String>::new());
        assert_eq!(surplus(there(), &name(24, 10), keep(2)), [name(2, 1), name(24, 1)]);
        assert_eq!(surplus(there(), &name(24, 10), keep(1)), [name(2, 1), name(24, 1), name(24, 9)]);
        // The clock went back, and the newest looks old.
        assert_eq!(surplus(there(), &name(2, 1), keep(1)).len(), 3);
        assert!(!surplus(there(), &name(2, 1), keep(1)).contains(&name(2, 1)));
    }
}
