//! A restore: everything is read and checked before anything is touched, and what was there is put aside.

use std::{fs, path::Path};

use super::{
    About, BackupError, Scratch, Source,
    archive::{self, Key, Manifest},
    database,
    swap::{self, New},
};
use crate::{
    config::Config,
    keys,
    store::{Store, newest_schema},
};

/// Puts a backup in the place of what the state directory has.
///
/// # Errors
/// Where a site runs, or the backup is none, damaged, or a newer program's: then nothing was changed. Where something
/// cannot be written what was there is put back.
pub async fn restore(config: Config, source: Source) -> Result<(), BackupError> {
    let state_dir = &config.state_dir;
    keys::make_state_dir(state_dir).about(state_dir)?;
    let _lock = keys::lock(state_dir)
        .map_err(|error| BackupError::Refused(format!("{error}: stop it first. Nothing was changed")))?;
    keys::give_to_owner(state_dir, &state_dir.join("lock")).about(state_dir)?;
    let scratch = Scratch::make(state_dir)?;
    let from = source.file(&scratch).await?;
    let target = database(&config)?;
    // A rename needs it on the same file system as the one that it replaces, which may be elsewhere.
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).about(directory)?;
    let beside = Scratch::make(directory)?;
    let copy = beside.path("deployer.db");
    let (manifest, keys) = {
        let copy = copy.clone();
        let unpacking = tokio::task::spawn_blocking(move || archive::unpack(&from, &copy));
        let unpacked = unpacking.await.map_err(|_| BackupError::refused("unpacking broke off"))??;
        (unpacked.manifest, unpacked.keys)
    };
    check(&manifest, &keys, &copy).await?;
    // Who signed out since, or was disabled, is not signed in again by an old copy.
    Store::end_sign_ins(&copy).await.about(&copy)?;
    // What machines send that were begun since is taken for nothing else.
    Store::leave_numbers_out(&copy).await.about(&copy)?;
    // What SQLite has not brought into the old database's one file yet; where it cannot, its files are put aside too.
    if target.exists() && Store::settle_file(&target).await.is_err() {
        tracing::warn!(database = %target.display(), "the database that is replaced cannot be read; its files are put aside as they are");
    }
    let news = new_files(state_dir, &scratch, &keys, &copy, &target)?;
    let aside = swap::swap(state_dir, news)?;
    println!("restored {}", manifest.in_words());
    println!("It was backed up at {}.", manifest.made_at);
    if let Some(aside) = aside {
        println!("What was there before is in {}.", aside.display());
    }
    println!("Start the site now. Everybody signs in again, and links to set a password are made anew.");
    println!(
        "What was launched after the backup is on no page but /cloud, where admins adopt or terminate it."
    );
    Ok(())
}

/// Whether the database is whole, the one that the manifest tells of, and one that this program can use with these keys.
async fn check(manifest: &Manifest, keys: &[Key], copy: &Path) -> Result<(), BackupError> {
    let known = newest_schema();
    if manifest.schema > known {
        return Err(BackupError::Refused(format!(
            "this backup has schema {} and was made by version {}; this program, version {}, knows schemas up to {known}: restore it with that version or a newer one. Nothing was changed",
            manifest.schema,
            manifest.version,
            crate::VERSION,
        )));
    }
    let unusable =
        |why: String| BackupError::Refused(format!("the database of this backup {why}. Nothing was changed"));
    match Store::damage(copy).await {
        Ok(None) => {}
        Ok(Some(damage)) => return Err(unusable(format!("is damaged: {damage}"))),
        Err(error) => return Err(unusable(format!("cannot be read: {error}"))),
    }
    let contents =
        Store::contents(copy).await.map_err(|error| unusable(format!("is not a site's: {error}")))?;
    if (contents.schema, &contents.site) != (manifest.schema, &manifest.site) {
        return Err(unusable("is another than its manifest tells of".to_owned()));
    }
    if archive::lacks_key(&contents.site, contents.schema, keys) {
        return Err(BackupError::Refused(format!(
            "this backup has no {}, without which the values of its variables cannot be read: it was made with another STATE_DIR than the site's; restore one that was made with the site's. Nothing was changed",
            keys::VARIABLES
        )));
    }
    Ok(())
}

/// The files that take the places of those that are there, ready beside them. The database is the last.
fn new_files(
    state_dir: &Path,
    scratch: &Scratch,
    keys: &[Key],
    copy: &Path,
    target: &Path,
) -> Result<Vec<New>, BackupError> {
    let mut news = Vec::new();
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = target.as_os_str().to_owned();
        name.push(suffix);
        news.push(New { target: name.into(), ready: None });
    }
    for (name, _) in keys::FILES {
        let given = keys.iter().find(|key| key.name == name);
        let ready = given.map(|key| -> Result<_, BackupError> {
            let path = scratch.path(name);
            let mut file = super::scratch::create(&path)?;
            std::io::Write::write_all(&mut file, &key.bytes).and_then(|()| file.sync_all()).about(&path)?;
            Ok(path)
        });
        news.push(New { target: state_dir.join(name), ready: ready.transpose()? });
    }
    fs::File::open(copy).and_then(|file| file.sync_all()).about(copy)?;
    news.push(New { target: target.to_owned(), ready: Some(copy.to_owned()) });
    for path in news.iter().filter_map(|new| new.ready.as_ref()) {
        keys::give_to_owner(state_dir, path).about(path)?;
    }
    Ok(news)
}
