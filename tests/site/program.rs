//! The program as a process, without rights: as root, who runs these tests, it would begin to bake.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::helpers::{PASSWORD, Person};

/// A program that runs as a site.
pub struct Program {
    pub url: String,
    link: String,
    log: PathBuf,
    child: Child,
    directory: tempfile::TempDir,
}

/// A port that nobody uses just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A directory that an account without rights can use, with the program in it.
pub fn place() -> tempfile::TempDir {
    let directory = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o777)).tempdir().unwrap();
    fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).unwrap();
    // The checkout may be closed to it.
    fs::copy(env!("CARGO_BIN_EXE_ec-deployer"), directory.path().join("ec-deployer")).unwrap();
    directory
}

/// The program of a place, without rights, without the settings of whoever runs the tests.
pub fn program(place: &Path) -> Command {
    let program = place.join("ec-deployer");
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("STATE_DIR", place.join("state"))
        // Names that a real site on this host has not.
        .env("LOCAL_BRIDGE", "ecsitetest0")
        .env("LOCAL_SUBNET", "10.199.199.0/24")
        .stdin(Stdio::null());
    command
}

impl Program {
    /// Starts it, and waits until it says where it is.
    pub async fn serve(settings: &[(&str, &str)]) -> Self {
        let directory = place();
        let log = directory.path().join("log");
        let port = free_port();
        let mut child = program(directory.path())
            .arg("serve")
            .env("LISTEN", format!("127.0.0.1:{port}"))
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let link = tokio::task::spawn_blocking(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines
                .filter_map(|line| line.split_whitespace().last().map(str::to_owned))
                .find(|word| word.contains("token="))
        });
        let link = tokio::time::timeout(Duration::from_secs(60), link).await.unwrap().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let mut program = Self { url, link: String::new(), log, child, directory };
        program.link = link.unwrap_or_else(|| panic!("the site did not start:\n{}", program.log()));
        program
    }

    /// The program once more, with the settings of this one.
    pub fn command(&self) -> Command {
        let mut command = program(self.directory.path());
        command.env("LISTEN", self.url.trim_start_matches("http://"));
        command
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The secret of the link that creates the first admin.
    pub fn setup_token(&self) -> &str {
        self.link.split_once("token=").unwrap().1
    }

    /// Somebody with a browser.
    pub fn visitor(&self) -> Person {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Person::new(self.url.clone(), client, BTreeMap::new())
    }

    /// The first admin, by the link.
    pub async fn first_admin(&self) -> Person {
        let mut admin = self.visitor();
        let path = self.link.strip_prefix(&self.url).unwrap();
        admin.get(path).await;
        let answer = admin.post(path, &[("username", "mira"), ("password", PASSWORD)]).await;
        assert!(answer.status.is_redirection(), "{}\n{}", answer.status, answer.body);
        admin.get("/instances").await;
        admin
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
