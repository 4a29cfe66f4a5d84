//! How a script is started on a machine, whichever way a cloud has to run a few lines there.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};

use super::Job;

/// Most bytes of the text of [`command`]. Systems Manager takes documents of 64 KB, what is given to their parameters
/// at run time among it (<https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_CreateDocument.html>);
/// its own `AWS-RunShellScript` takes a part of that.
pub const LIMIT: usize = 60 * 1024;

/// The lines that start a script as root, as a unit of its own that outlives them: plain `sh`, as `AWS-RunShellScript`
/// runs them. A repetition does no harm: while the job's unit runs they do nothing. What keeps the unit from starting
/// goes to standard error, and the exit code is 1 then.
pub fn command(job: Job, script: &[u8]) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let packed =
        gzip.write_all(script).and_then(|()| gzip.finish()).expect("writing to memory does not fail");
    // Nothing in it can be taken for one of the parameters, `{{ name }}`, that Systems Manager replaces.
    let packed = STANDARD.encode(packed);
    format!("job={job}\n{BEGIN}{packed}\n{END}")
}

const BEGIN: &str = r#"set -eu
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
unit=ec-$job.service
path=/var/lib/ec-deployer/scripts/$job
umask 077
mkdir -p /var/lib/ec-deployer/scripts
# Another call may be at it at this moment.
exec 9>/var/lib/ec-deployer/scripts.lock
flock 9
if systemctl -q is-active "$unit"; then exit 0; fi
new=$(mktemp "$path.XXXXXX")
trap 'rm -f "$new"' EXIT
base64 -d <<'EC_END' | gzip -dc >"$new"
"#;

/// The script holds the job's token, and nobody needs it afterwards.
const END: &str = r#"EC_END
chmod 700 "$new"
mv -f "$new" "$path"
if systemd-run --quiet --collect --unit="$unit" --description="What the site asked for: $job" \
  --service-type=exec --property=KillMode=mixed --property="ExecStopPost=/bin/rm -f $path" \
  --setenv=HOME=/root -- "$path"; then exit 0; fi
journalctl --sync || true
said=$(journalctl --quiet --no-pager --output=cat --lines=8 --unit="$unit" || true)
# The reason last: it is what is shown.
printf '%s\n' "$said" >&2
printf '%s\n' "$said" | grep 'Failed at step' >&2 || true
rm -f "$path"
exit 1
"#;

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::domain::DeploymentId;

    const JOB: Job = Job::Deploy(DeploymentId(i64::MAX));

    /// What a program says to the text on its standard input.
    fn said_by(program: &str, arguments: &[&str], text: &str) -> (bool, String) {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it is installed");
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn it_is_plain_sh() {
        let text = command(JOB, b"#!/bin/bash\necho \"it's {{ here }}\"\n");
        assert_eq!(said_by("sh", &["-n"], &text), (true, String::new()));
        assert_eq!(said_by("shellcheck", &["--shell=dash", "-"], &text), (true, String::new()));
        assert!(!text.contains("{{"), "{text}");
    }

    #[test]
    fn the_script_arrives_unchanged() {
        let script: Vec<u8> = (0..100_000u32).flat_map(|n| (n % 251).to_le_bytes()).collect();
        let text = command(JOB, &script);
        let packed = text.split_once("<<'EC_END'").unwrap().1.split_once('\n').unwrap().1;
        let packed = packed.split_once("\nEC_END\n").unwrap().0;
        let mut unpacked = Vec::new();
        let packed = STANDARD.decode(packed).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
        assert!(unpacked == script);
    }
}
