//! The host's own tools.

use std::process::{Command, Stdio};

use crate::cloud::CloudError;

/// Where the host's tools are, whatever the site was started with: `ip` and `iptables` are in `sbin`,
/// which a person's shell often leaves out.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A tool of the host with no environment but what tools need. No shell is involved: arguments are
/// what they are.
pub(super) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C.UTF-8").env("TERM", "dumb").stdin(Stdio::null());
    command
}

/// Whether a tool is installed.
pub(super) fn is_installed(name: &str) -> bool {
    PATH.split(':').any(|directory| std::path::Path::new(directory).join(name).is_file())
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// Where it cannot be started or fails, with the last line it printed about why.
pub(super) fn run(command: &mut Command) -> Result<String, CloudError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| {
        CloudError::later(format!("{program} could not be started on this host.")).because(error)
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it did not say why");
    let arguments: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    Err(CloudError::later(format!("{program} failed on this host: {}", last.trim())).because(format!(
        "{program} {} ended with {}",
        arguments.join(" "),
        output.status
    )))
}
