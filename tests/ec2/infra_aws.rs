//! A person's computer, from which the scripts set a site up: their AWS is moto, and what moto has not is answered by
//! `infra/aws.py`. Nothing is asked of the addresses that moto invents: `curl` is a stand-in too.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::moto;

/// The account that moto takes whoever does not name one to be of.
pub const ACCOUNT: &str = "123456789012";
/// Regions are as far apart in moto as accounts are, but for roles and buckets, whose names have the stack's.
const REGIONS: [&str; 19] = [
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "sa-east-1",
    "ap-northeast-3",
    "ap-east-1",
    "eu-south-1",
    "af-south-1",
    "me-south-1",
];

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a script printed, on both of its streams, and how it ended.
pub struct Told {
    pub text: String,
    pub well: bool,
}

impl Told {
    #[track_caller]
    pub fn well(self) -> Self {
        assert!(self.well, "{}", self.text);
        self
    }

    #[track_caller]
    pub fn ill(self) -> Self {
        assert!(!self.well, "it ended well: {}", self.text);
        self
    }

    #[track_caller]
    pub fn has(&self, part: &str) -> &Self {
        assert!(self.text.contains(part), "{part:?} in:\n{}", self.text);
        self
    }

    #[track_caller]
    pub fn has_not(&self, part: &str) -> &Self {
        assert!(!self.text.contains(part), "{part:?} in:\n{}", self.text);
        self
    }
}

/// A computer with AWS's command line, and a region of AWS of its own.
pub struct Computer {
    pub region: &'static str,
    /// The name of its stack.
    pub stack: String,
    directory: TempDir,
}

impl Computer {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let region = REGIONS.get(number).expect("a test more than regions");
        let computer =
            Self { region, stack: format!("site-{number}"), directory: tempfile::tempdir().unwrap() };
        let python = moto::programs().join("python");
        let aws = format!(
            "#!/bin/sh\nexec {} {} \"$@\"\n",
            python.display(),
            root().join("tests/ec2/infra/aws.py").display()
        );
        computer.program("aws", &aws);
        // The site answers once something was released.
        computer.program(
            "curl",
            "#!/bin/sh\necho \"curl $*\" >>\"$EC_TEST_AWS/calls\"\ngrep -q '\"target\": *\"i-' \"$EC_TEST_AWS/state\" || exit 7\necho '{\"status\":\"ok\",\"version\":\"0.1.0\"}'\n",
        );
        let state = json!({
            "connections": {}, "connection_of": {}, "executions": {}, "deployments": [], "reports": [],
            "values": {},
            "approval": 2, "build": 1, "active": 0, "outcome": "Succeeded", "expired": false, "held": [],
            "failing": false, "failed": null, "refused": false, "locked": false, "snapshot": null,
            "cut": null, "looked_at": [],
        });
        fs::write(computer.path("state"), state.to_string()).unwrap();
        computer
    }

    /// A computer in whose account is a golden image.
    pub fn with_image() -> Self {
        let computer = Self::new();
        computer.register_image("golden");
        computer
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a program on the PATH; gives where it is.
    pub fn program(&self, name: &str, text: &str) -> String {
        fs::create_dir_all(self.path("bin")).unwrap();
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A command that has nothing of this process's own environment, so that it can reach nobody's account.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap();
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HOME", self.directory.path())
            .env("LC_ALL", "C.UTF-8")
            .env("AWS_ENDPOINT_URL", moto::moto())
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", self.region)
            .env("AWS_DEFAULT_REGION", self.region)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("EC_PAUSE", "0.1")
            .env("EC_TEST_AWS", self.directory.path())
            .env("EC_TEST_REAL_AWS", moto::programs().join("aws"))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs AWS's own command line: what really is there.
    #[track_caller]
    pub fn aws(&self, words: &[&str]) -> Value {
        let output = self.command(moto::programs().join("aws")).args(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_slice(&output.stdout).unwrap() }
    }

    /// Runs a script with the stack's name, in a process group of its own, which may be cut off.
    pub fn run(&self, script: &str, words: &[&str]) -> Told {
        self.run_as(script, words, |_| ())
    }

    /// The same in another environment.
    pub fn run_as(&self, script: &str, words: &[&str], change: impl FnOnce(&mut Command)) -> Told {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(root().join("scripts").join(script));
        command.args(["--stack", &self.stack]).args(words).process_group(0);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        change(&mut command);
        let well = command.status().unwrap().success();
        Told { text: fs::read_to_string(self.path("log")).unwrap(), well }
    }

    pub fn up(&self, words: &[&str]) -> Told {
        self.run("aws-up.sh", &[&["o/site"], words].concat())
    }

    pub fn down(&self, words: &[&str]) -> Told {
        self.run("aws-down.sh", words)
    }

    /// The calls that scripts made, each a line, since the last time that they were asked for.
    pub fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        fs::write(self.path("calls"), "").unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Changes what is answered.
    pub fn behave(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        change(&mut state);
        fs::write(self.path("state"), state.to_string()).unwrap();
    }

    pub fn state(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.path("state")).unwrap()).unwrap()
    }

    /// Has the next such call cut its script off, `before` it is done or `after`.
    pub fn cut(&self, call: &str, when: &str) {
        self.behave(|state| state["cut"] = json!([call, when]));
    }

    /// A good golden image, as the program's bake leaves it.
    pub fn register_image(&self, name: &str) -> String {
        let zone = format!("{}a", self.region);
        let volume = self.aws(&["ec2", "create-volume", "--size", "8", "--availability-zone", &zone]);
        let volume = volume["VolumeId"].as_str().unwrap();
        let snapshot = self.aws(&["ec2", "create-snapshot", "--volume-id", volume]);
        self.aws(&["ec2", "delete-volume", "--volume-id", volume]);
        let disk = format!(
            "DeviceName=/dev/sda1,Ebs={{SnapshotId={},VolumeSize=8}}",
            snapshot["SnapshotId"].as_str().unwrap()
        );
        let register = ["ec2", "register-image", "--name", name, "--root-device-name", "/dev/sda1"];
        let image = self.aws(&[&register[..], &["--block-device-mappings", &disk]].concat());
        let image = image["ImageId"].as_str().unwrap().to_owned();
        let tags = ["Key=ManagedBy,Value=ec-deployer", "Key=ec-deployer:state,Value=good"];
        self.aws(&[&["ec2", "create-tags", "--resources", &image, "--tags"], &tags[..]].concat());
        image
    }

    /// The stack's resources that are there: the ids by their names in the template.
    pub fn resources(&self) -> std::collections::BTreeMap<String, String> {
        let listed = self.aws(&["cloudformation", "list-stack-resources", "--stack-name", &self.stack]);
        let of = |one: &Value| {
            Some((one["LogicalResourceId"].as_str()?.into(), one["PhysicalResourceId"].as_str()?.into()))
        };
        let all: Vec<(String, String)> =
            listed["StackResourceSummaries"].as_array().unwrap().iter().filter_map(of).collect();
        all.into_iter().filter(|(name, id)| !name.is_empty() && !id.is_empty()).collect()
    }

    /// A parameter or an output of the stack; empty where it has none.
    pub fn of_stack(&self, kind: &str, name: &str) -> String {
        let described = self.aws(&["cloudformation", "describe-stacks", "--stack-name", &self.stack]);
        let one = kind.trim_end_matches('s');
        let all = described["Stacks"][0][kind].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|each| each[format!("{one}Key")] == name);
        found.and_then(|each| each[format!("{one}Value")].as_str()).unwrap_or_default().to_owned()
    }

    /// How many there are: `count(&["ec2", "describe-volumes"], "Volumes[]")`.
    #[track_caller]
    pub fn count(&self, words: &[&str], query: &str) -> u64 {
        let counted = format!("length({query})");
        self.aws(&[words, &["--query", &counted]].concat()).as_u64().unwrap()
    }
}
