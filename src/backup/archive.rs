//! The file of a backup: a `.tar.gz` with `manifest.json`, the keys and `deployer.db`, in this order and nothing else.
//! What is unpacked may come from anywhere: each name is one of these, each size is known before and bounded.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Write},
    path::Path,
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use tar::{Archive, Builder, EntryType, Header};

use super::{About, BackupError, room, scratch};
use crate::keys;

/// The number of this form of backups.
pub(super) const FORMAT: u32 = 1;
/// The first file of each.
const MANIFEST: &str = "manifest.json";
/// Its last one.
const DATABASE: &str = "deployer.db";
/// Most bytes of a manifest.
const LONGEST_MANIFEST: u64 = 64 * 1024;
/// Most bytes that may come after the last file: tar ends with two empty blocks, and fills up some more.
const LONGEST_END: u64 = 64 * 1024;
/// The schema from which on values are sealed by a key beside the database.
const SEALED: i64 = 12;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub format: u32,
    /// The version of the program that made it.
    pub version: String,
    /// The number of the newest migration that the database has seen.
    pub schema: i64,
    /// The site's random id; empty before its first start.
    pub site: String,
    /// When it was made: RFC 3339, in UTC.
    pub made_at: String,
    pub users: u64,
    pub instances: u64,
    pub database_bytes: u64,
}

impl Manifest {
    /// What it is a backup of.
    pub fn in_words(&self) -> String {
        let Self { version, schema, site, users, instances, .. } = self;
        let site =
            if site.is_empty() { "a site before its first start".to_owned() } else { format!("site {site}") };
        let plural = |n: &u64, one: &str, more: &str| format!("{n} {}", if *n == 1 { one } else { more });
        format!(
            "{site} with {} and {}, schema {schema}, by version {version}",
            plural(users, "person", "people"),
            plural(instances, "instance", "instances")
        )
    }
}

/// A file of secrets beside the database.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

/// The keys that are there.
pub(super) fn keys_of(state_dir: &Path) -> Result<Vec<Key>, BackupError> {
    let mut there = Vec::new();
    for (name, size) in keys::FILES {
        let path = state_dir.join(name);
        match fs::read(&path) {
            Ok(bytes) if bytes.len() == size => there.push(Key { name, bytes }),
            Ok(_) => return Err(BackupError::Refused(format!("{} is no key", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).about(&path),
        }
    }
    Ok(there)
}

/// Whether the key is missing by which values of this site's database are sealed: it was made before the site's id was.
pub(super) fn lacks_key(site: &str, schema: i64, keys: &[Key]) -> bool {
    !site.is_empty() && schema >= SEALED && keys.iter().all(|key| key.name != keys::VARIABLES)
}

/// Packs a backup into a file; says how large it is.
pub(super) fn pack(
    to: &Path,
    manifest: &Manifest,
    keys: &[Key],
    database: &Path,
) -> Result<u64, BackupError> {
    let file = scratch::create(to)?;
    // Fast rather than small: the site runs beside this.
    let mut tar = Builder::new(GzEncoder::new(file, Compression::fast()));
    let written: io::Result<u64> = (|| {
        let text = serde_json::to_vec_pretty(manifest)?;
        tar.append_data(&mut header(text.len() as u64), MANIFEST, &text[..])?;
        for Key { name, bytes } in keys {
            tar.append_data(&mut header(bytes.len() as u64), name, &bytes[..])?;
        }
        tar.append_data(&mut header(manifest.database_bytes), DATABASE, File::open(database)?)?;
        let file = tar.into_inner()?.finish()?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    })();
    written.about(to)
}

fn header(size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    header
}

/// What was unpacked, the database aside, which is a file by now.
pub(super) struct Unpacked {
    pub manifest: Manifest,
    pub keys: Vec<Key>,
}

/// Unpacks a backup; its database into a new file.
pub(super) fn unpack(from: &Path, database: &Path) -> Result<Unpacked, BackupError> {
    let foreign = |why: &str| {
        BackupError::Refused(format!("{} is no backup of `ec-deployer backup`: {why}", from.display()))
    };
    let damaged = |error: io::Error| foreign(&format!("it cannot be read to its end ({error})"));
    let file = File::open(from).about(from)?;
    let mut archive = Archive::new(GzDecoder::new(BufReader::new(file)));
    let (mut manifest, mut keys, mut has_database) = (None::<Manifest>, Vec::<Key>::new(), false);
    // Raw: what would give the next one a longer name is read into memory, however long it is; here it is no plain file.
    for entry in archive.entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let size = entry.size();
        if entry.header().entry_type() != EntryType::Regular {
            return Err(foreign(&format!("{name:?} in it is no plain file")));
        }
        if has_database {
            return Err(foreign(&format!("there is {name:?} after the database")));
        }
        let Some(manifest) = &manifest else {
            if name != MANIFEST || size > LONGEST_MANIFEST {
                return Err(foreign("it does not begin with its manifest"));
            }
            let mut text = Vec::new();
            entry.read_to_end(&mut text).map_err(damaged)?;
            manifest = Some(read_manifest(&text).map_err(|why| foreign(&why))?);
            continue;
        };
        if name == DATABASE {
            if size != manifest.database_bytes {
                return Err(foreign("its database has another size than it says"));
            }
            let directory = database.parent().unwrap_or(database);
            room::check(directory, "the database of this backup", size)?;
            let mut file = scratch::create(database)?;
            let copied = io::copy(&mut entry, &mut file).map_err(damaged)?;
            if copied != size {
                return Err(foreign("its database is cut off"));
            }
            file.flush().and_then(|()| file.sync_all()).about(database)?;
            has_database = true;
            continue;
        }
        let known = keys::FILES.iter().find(|(known, _)| *known == name);
        match known {
            Some((name, expected))
                if *expected as u64 == size && keys.iter().all(|key| key.name != *name) =>
            {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                if bytes.len() != *expected {
                    return Err(foreign(&format!("its {name} is cut off")));
                }
                keys.push(Key { name, bytes });
            }
            _ => return Err(foreign(&format!("{name:?} does not belong in it"))),
        }
    }
    // The sum that tells damage is at the very end.
    let read = io::copy(&mut archive.into_inner().take(LONGEST_END), &mut io::sink()).map_err(damaged)?;
    match manifest {
        Some(manifest) if has_database && read < LONGEST_END => Ok(Unpacked { manifest, keys }),
        Some(_) if has_database => Err(foreign("something follows after its end")),
        _ => Err(foreign("it has no database")),
    }
}

fn read_manifest(text: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_slice(text).map_err(|_| "its manifest cannot be read".to_owned())?;
    if form.format != FORMAT {
        let format = form.format;
        return Err(format!(
            "it has form {format}, and this program, version {}, knows form {FORMAT}: restore it with the program that made it",
            crate::VERSION
        ));
    }
    serde_json::from_slice(text).map_err(|_| "its manifest cannot be read".to_owned())
}
