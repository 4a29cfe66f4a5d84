//! The host's own tools.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

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
    let output = command.output().map_err(|error| not_started(&program, error))?;
    what_came(command, &program, output)
}

/// The same for a command that reads `input`, which fits into a pipe.
pub(super) fn feed(command: &mut Command, input: &[u8]) -> Result<String, CloudError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(&program, error))?;
    // One that ends before it has read all of it says why.
    let _ = child.stdin.take().expect("it is a pipe").write_all(input);
    let output = child.wait_with_output().map_err(|error| not_started(&program, error))?;
    what_came(command, &program, output)
}

fn not_started(program: &str, error: std::io::Error) -> CloudError {
    CloudError::later(format!("{program} could not be started on this host.")).because(error)
}

fn what_came(command: &Command, program: &str, output: Output) -> Result<String, CloudError> {
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
