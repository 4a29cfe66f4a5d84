//! `ec-deployer rotate-keys`: new keys for variables and for deploy-log tokens.
//!
//! The next key of variables is on disk before any value is sealed by it, and takes the place of the one before only
//! after all of them are, in one transaction. So at each moment one of the two files opens everything; which one it is
//! the values themselves tell, and whoever holds the state directory's lock next finishes what was broken off, or undoes
//! it.

use std::path::Path;

use crate::{
    config::Config,
    keys,
    serve::{ServeError, open_alone},
    store::{Store, StoreError},
};

/// Keys were not made anew.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// What every subcommand needs.
    #[error(transparent)]
    Open(#[from] ServeError),
    /// The state directory.
    #[error("the state directory: {0}")]
    State(#[from] std::io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Machines report by tokens of the key that would go.
    #[error(
        "{0} deployments, downloads or commands are under way, and their machines could not report any more: start the site until they have ended, or say --force"
    )]
    UnderWay(u64),
}

/// Makes new keys while no site runs.
///
/// # Errors
/// Where a site runs, something is under way and `force` is not said, or something cannot be written: then the values
/// are open to one of the keys that are there, and the next start puts that right.
pub async fn rotate(config: Config, force: bool) -> Result<(), RotationError> {
    let state_dir = &config.state_dir;
    keys::make_state_dir(state_dir)?;
    let lock = keys::lock(state_dir)?;
    let store = open_alone(&config, &lock).await?;
    let under_way = store.reporting().await?;
    if under_way > 0 && !force {
        return Err(RotationError::UnderWay(under_way));
    }
    let next = keys::make_next_vault(state_dir)?;
    let done = store.reseal(store.vault(), &next).await?;
    keys::take_next_vault(state_dir)?;
    keys::make_log_key(state_dir)?;
    store.close().await;
    println!("{} values of variables and passwords are sealed by a new key", done.sealed);
    if done.lost > 0 {
        println!("{} more had been lost before, and have to be given anew", done.lost);
    }
    println!(
        "machines are given tokens of a new key from now on; backups from before have the old keys in them"
    );
    if under_way > 0 {
        println!(
            "{under_way} deployments, downloads or commands that are under way cannot report any more, and will fail"
        );
    }
    Ok(())
}

/// Finishes a change of keys that was broken off, or undoes it. For whoever holds the state directory's lock.
pub(crate) async fn settle(state_dir: &Path, store: &Store) -> Result<(), RotationError> {
    let Some(next) = keys::next_vault(state_dir)? else { return Ok(()) };
    if store.any_opens_by(&next).await? {
        keys::take_next_vault(state_dir)?;
        tracing::info!("a change of keys that was broken off is finished");
    } else {
        keys::drop_next_vault(state_dir)?;
        tracing::info!("a change of keys that was broken off is undone");
    }
    Ok(())
}
