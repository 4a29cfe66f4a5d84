//! A command that starts a script on a machine detached from whoever gave it.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, GzBuilder};

use super::Job;

/// The text of the command, for any POSIX shell, run as root. While the same job's script runs there it does nothing.
pub(super) fn command(job: Job, script: &[u8]) -> String {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let packed =
        gzip.write_all(script).and_then(|()| gzip.finish()).expect("writing to memory does not fail");
    format!(
        "set -eu\nunit=ec-job-{job}\nfile=/var/lib/ec-deployer/scripts/{job}\n\
         if systemctl is-active --quiet \"$unit\"; then exit 0; fi\n\
         install -d -m 700 /var/lib/ec-deployer/scripts\n\
         umask 077\n\
         base64 -d <<'EC_END' | gzip -d >\"$file.new\"\n{}\nEC_END\n\
         mv -f \"$file.new\" \"$file\"\nchmod 700 \"$file\"\n\
         systemd-run --quiet --collect --unit \"$unit\" \"$file\"\n",
        STANDARD.encode(packed)
    )
}
