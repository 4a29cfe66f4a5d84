//! Room on the disk, which is looked at before much is written: a site may run there that needs some as well.

use std::{io, path::Path};

use nix::sys::statvfs::statvfs;

use super::{About, BackupError, in_megabytes};

/// Bytes of the disk that are left free.
const KEEP_FREE: u64 = 100_000_000;

/// Whether the disk of a directory has room for something of so many bytes, which are only said to come.
pub(super) fn check(directory: &Path, what: &str, size: u64) -> Result<(), BackupError> {
    let disk = statvfs(directory).map_err(io::Error::from).about(directory)?;
    let free = disk.blocks_available() * disk.fragment_size();
    if free < size.saturating_add(KEEP_FREE) {
        return Err(BackupError::Refused(format!(
            "the disk of {} has too little room: {what} takes {}, {} stay free, and it has {}. Make room there first",
            directory.display(),
            in_megabytes(size),
            in_megabytes(KEEP_FREE),
            in_megabytes(free)
        )));
    }
    Ok(())
}
