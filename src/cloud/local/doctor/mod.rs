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
use crate::cloud::{CloudError, Finding, Retry};

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

/// What was seen, and what to do: a refusal says both, with a colon between them; what may pass says what a tool said.
fn parts(error: &CloudError) -> (String, String) {
    let (what, cure) = match error.sentence.split_once(": ") {
        Some((what, cure)) if error.retry == Retry::Never => (what, cure),
        _ => (error.sentence.as_str(), "see what this host's log (journalctl, dmesg) says of it"),
    };
    let what = what.trim_end_matches('.');
    match &error.cause {
        Some(cause) => (format!("{what} ({cause})"), cure.to_owned()),
        None => (what.to_owned(), cure.to_owned()),
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
    fn a_cure_follows_a_refusals_colon() {
        let error = CloudError::never("The bridge is another's: choose another LOCAL_BRIDGE.");
        assert_eq!(
            parts(&error),
            ("The bridge is another's".to_owned(), "choose another LOCAL_BRIDGE.".to_owned())
        );
        let error = CloudError::later("ip failed on this host: RTNETLINK answers: Operation not permitted");
        assert!(parts(&error).0.ends_with("Operation not permitted"));
        let error = CloudError::later("It failed.").because("EPERM");
        assert_eq!(parts(&error).0, "It failed (EPERM)");
    }
}
