//! A look at this host: whether it can run machines, and what to do where it cannot. It uses what launches use, so
//! that what passes here is what a launch needs; but in namespaces of its own, which go away with the look, or beside
//! the machines that run. A site that runs meanwhile notices nothing.

mod disk;
mod dns;
mod fetch;
mod kernel;
mod network;
mod tools;
mod trial;

use std::thread;

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::{LocalConfig, paths::Paths};
use crate::cloud::{CloudError, Finding};

/// A look under way.
pub(super) struct Look<'a> {
    pub config: &'a LocalConfig,
    pub paths: &'a Paths,
    /// Where repositories come from: addresses that machines fetch from.
    pub git_hosts: &'a [String],
    /// The process of the site that runs on this state directory, where one does.
    pub site: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Whether nobody waits for the look any more.
    pub unwanted: &'a (dyn Fn() -> bool + Sync),
    /// Takes each finding as it comes.
    pub tell: &'a (dyn Fn(Finding) + Sync),
}

/// Looks at everything, in the order in which a person would cure it.
pub(super) fn examine(look: &Look<'_>) {
    let root = kernel::rights(look);
    tools::examine(look);
    for part in [kernel::examine, disk::examine, network::examine, trial::examine] {
        if (look.unwanted)() {
            return;
        }
        part(look, root);
    }
}

impl Look<'_> {
    fn ok(&self, what: impl Into<String>) {
        (self.tell)(Finding::ok(what));
    }

    fn warn(&self, what: impl Into<String>, cure: impl Into<String>) {
        (self.tell)(Finding::warn(what, cure));
    }

    fn bad(&self, what: impl Into<String>, cure: impl Into<String>) {
        (self.tell)(Finding::bad(what, cure));
    }

    /// What only root can look at.
    fn needs_root(&self, what: &str) {
        self.warn(format!("{what}: not looked at, which takes root"), AS_ROOT);
    }
}

const AS_ROOT: &str = "run it as root with the site's settings: sudo -E ec-deployer doctor";

/// A cloud's sentence as what was seen and its cure, which follows a colon in most.
fn parts(error: &CloudError) -> (String, String) {
    let mut what = error.sentence.clone();
    if let Some(cause) = &error.cause {
        what = format!("{} ({cause})", what.trim_end_matches('.'));
    }
    match error.sentence.split_once(": ") {
        Some((_, cure)) => (what, cure.to_owned()),
        None => (what, "the words in parentheses come from this host: look there".to_owned()),
    }
}

/// Does work on a thread with namespaces of its own, which go with it, the mounts and devices in them too.
///
/// # Errors
/// Where the kernel does not give them.
fn apart<T: Send>(kinds: CloneFlags, work: impl FnOnce() -> T + Send) -> nix::Result<T> {
    let alone = move || {
        unshare(kinds)?;
        if kinds.contains(CloneFlags::CLONE_NEWNS) {
            // Else what is mounted here would show on the host.
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
        }
        Ok(work())
    };
    thread::scope(|scope| scope.spawn(alone).join().unwrap_or(Err(nix::errno::Errno::ECANCELED)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cure_follows_a_colon() {
        let error = CloudError::never("The bridge is another's: choose another LOCAL_BRIDGE.");
        assert_eq!(parts(&error).1, "choose another LOCAL_BRIDGE.");
        let error = CloudError::later("It failed.").because("EPERM");
        assert_eq!(parts(&error).0, "It failed (EPERM)");
    }
}
