//! An admin's command line beside AWS: the program and AWS's own, both with moto for AWS, in an account's stead in a
//! region that no other test uses.

use std::process::{Command, Output};

use tempfile::TempDir;

use crate::moto;

/// The region of these tests; what they make there has names of its own.
const REGION: &str = "ap-northeast-3";

pub struct Admin {
    directory: TempDir,
}

impl Admin {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("STATE_DIR", self.directory.path().join("state"))
            .env("AWS_ENDPOINT_URL", moto::moto())
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// What AWS's command line says.
    pub fn aws(&self, words: &[&str]) -> String {
        let output = self.command(moto::programs().join("aws")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn program(&self, words: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_ec-deployer"));
        command.args(words);
        command
    }

    /// What the program prints.
    #[track_caller]
    pub fn well(&self, words: &[&str]) -> String {
        let output = self.program(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Why it refuses, where it prints nothing.
    #[track_caller]
    pub fn ill(&self, words: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.program(words).output().unwrap();
        assert!(!status.success() && stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
        String::from_utf8(stderr).unwrap()
    }
}
