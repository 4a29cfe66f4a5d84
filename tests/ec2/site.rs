//! The program as a running site with `CLOUD=ec2`, whose AWS is the proxy, and what is around it: a git host with
//! the sample, and a server that answers in the place of every project.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, http::StatusCode, routing::get};
use ec_django_deployer::samples::Samples;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::{
    account::{Account, NAME},
    database::Database,
    moto,
    person::Person,
    proxy::Proxy,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ec-deployer");
/// Longest time a site takes to say where it is: long, since many start at once here.
const START: Duration = Duration::from_secs(PATIENCE);

/// Longest time that something a test waits for may take, in seconds: a minute's work on a host that does much else.
pub const PATIENCE: u64 = 180;

/// What the site signs its requests with. Nothing else of a test may show these.
pub const ACCESS_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub const SESSION_TOKEN: &str = "FwoGZXIvYXdzEXAMPLETOKEN//////////wEaDtest";

/// A site and what is around it.
pub struct World {
    pub site: Site,
    pub mira: Person,
    pub account: Account,
    pub proxy: Proxy,
    pub pages: Pages,
    _git: Serving,
    _repositories: TempDir,
}

impl World {
    /// A site that launches from an image that its settings give.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with other settings; an empty value leaves one out.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let account = Account::prepare().await;
        let proxy = Proxy::start(&account.id).await;
        Self::start_in(account, proxy, settings).await
    }

    /// The same in an account that is there already.
    pub async fn start_in(account: Account, proxy: Proxy, settings: &[(&str, &str)]) -> Self {
        let pages = Pages::start().await;
        let repositories = open_directory();
        let prepared = repositories.path().to_owned();
        let samples =
            tokio::task::spawn_blocking(move || Samples::prepare(&prepared).unwrap()).await.unwrap();
        let git = Serving::start(samples.router()).await;
        let port = free_port();
        let mut environment: BTreeMap<String, String> = [
            ("LISTEN", format!("127.0.0.1:{port}")),
            ("CLOUD", "ec2".into()),
            ("GIT_HOSTS", git.url.clone()),
            ("GOLDEN_AMI", account.image.clone()),
            ("SUBNET_IDS", account.subnets.join(",")),
            ("SECURITY_GROUP_IDS", account.group.clone()),
            ("INSTANCE_PROFILE", NAME.into()),
            ("KEY_PAIR", NAME.into()),
            ("ADDRESS_MAP", format!("*={}", pages.serving.url.trim_start_matches("http://"))),
            ("AWS_ENDPOINT_URL", proxy.url.clone()),
            ("AWS_REGION", moto::REGION.into()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
            ("AWS_SESSION_TOKEN", SESSION_TOKEN.into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("RUST_LOG", "info,tower_http=warn,ec_django_deployer=debug".into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        for (name, value) in settings {
            environment.insert((*name).to_owned(), (*value).to_owned());
        }
        environment.retain(|_, value| !value.is_empty());
        let (site, link) = Site::start(port, environment, format!("{}/samples/guestbook.git", git.url)).await;
        let mira = Person::new(&site.url);
        mira.set_up(&link.expect("a set-up link"), "mira", "correct horse battery").await;
        Self { site, mira, account, proxy, pages, _git: git, _repositories: repositories }
    }

    /// Sends the form of a new instance of this name.
    pub async fn deploy(&self, name: &str) {
        self.deploy_as(&self.mira, name).await;
    }

    /// The same by another person.
    pub async fn deploy_as(&self, person: &Person, name: &str) {
        let fields =
            [("github_url", self.site.repository.as_str()), ("project_name", "guestbook"), ("name", name)];
        let answer = person.post("/instances/new", &fields).await;
        assert_eq!(answer.location.as_deref(), Some(&*format!("/instances/{name}")), "{}", answer.text);
    }

    /// Waits until the instance is as `wish` says, also where it has failed meanwhile.
    pub async fn eventually(&self, name: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let info = self.mira.info(name).await;
            if wish(&info) {
                return info;
            }
            assert!(begun.elapsed().as_secs() < PATIENCE, "{name} did not get there: {info:#}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the instance's machine is known, and gives its id.
    pub async fn launched(&self, name: &str) -> String {
        let info = self.mira.wait(name, PATIENCE, |info| info["instance_id"].is_string()).await;
        info["instance_id"].as_str().unwrap().to_owned()
    }

    /// The ids of the machines that carry an instance's name, terminated ones too.
    pub async fn machines_of(&self, name: &str) -> Vec<String> {
        let machines = self.account.machines().await;
        let named = machines.into_iter().filter(|machine| {
            machine
                .tags()
                .iter()
                .any(|tag| (tag.key(), tag.value()) == (Some("ec-deployer:instance"), Some(name)))
        });
        named.filter_map(|machine| machine.instance_id).collect()
    }
}

/// The program as a running site.
pub struct Site {
    pub url: String,
    /// The repository of the sample, on the test's git host.
    pub repository: String,
    pub state_dir: PathBuf,
    child: Child,
    environment: BTreeMap<String, String>,
    /// Removes it at the end.
    _directory: TempDir,
}

impl Site {
    async fn start(
        port: u16,
        environment: BTreeMap<String, String>,
        repository: String,
    ) -> (Self, Option<String>) {
        let directory = open_directory();
        let state_dir = directory.path().to_owned();
        let url = format!("http://127.0.0.1:{port}");
        let (child, link) = spawn(&state_dir, &environment, START).await;
        (Self { url, repository, state_dir, child, environment, _directory: directory }, link)
    }

    /// Kills the site with no chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the killed site again.
    pub async fn restart(&mut self) {
        (self.child, _) = spawn(&self.state_dir, &self.environment, Duration::ZERO).await;
    }

    /// The same with other settings.
    pub async fn restart_with(&mut self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            self.environment.insert((*name).to_owned(), (*value).to_owned());
        }
        self.restart().await;
    }

    /// The process.
    #[allow(dead_code, reason = "measurements ask for it")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The program once more, with the settings of this one.
    pub fn command(&self, subcommand: &str) -> Command {
        let mut command = program(&self.state_dir, &self.environment);
        command.arg(subcommand);
        command
    }

    /// Its database, beside the site.
    pub async fn database(&self) -> Database {
        Database::open(&self.state_dir.join("deployer.db")).await
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.state_dir.join("site.log")).unwrap_or_default()
    }

    /// Adds a person by the program's own subcommand.
    pub async fn add_user(&self, username: &str) -> Person {
        let password = "correct horse battery";
        let mut command = program(&self.state_dir, &self.environment);
        command.args(["user", "--state-dir"]).arg(&self.state_dir);
        command.args(["add", username, "--password-stdin"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let added = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            let line = format!("{password}\n");
            std::io::Write::write_all(child.stdin.as_mut().unwrap(), line.as_bytes()).unwrap();
            child.wait().unwrap().success()
        });
        assert!(added.await.unwrap());
        let person = Person::new(&self.url);
        person.sign_in(username, password).await;
        person
    }
}

/// A site ends with its test, however that ends.
impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            // People who wait for something ask for nothing else.
            let lines = log.lines().filter(|line| !line.contains("/info"));
            let tail: Vec<_> = lines.rev().take(60).collect();
            eprintln!("the site's log ends:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// Starts the program and waits until it says where it is; with the set-up link, where it gives one so soon after.
async fn spawn(
    state_dir: &Path,
    environment: &BTreeMap<String, String>,
    link_within: Duration,
) -> (Child, Option<String>) {
    let log = state_dir.join("site.log");
    let stderr = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
    let mut command = program(state_dir, environment);
    command.arg("serve").stdout(Stdio::piped()).stderr(stderr);
    // The proxy is to go on meanwhile.
    let started = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let Ok(at) = told.recv_timeout(START) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the site did not start:\n{}", fs::read_to_string(&log).unwrap_or_default())
        };
        assert!(at.contains("http://127.0.0.1:"), "{at}");
        let link = told.recv_timeout(link_within).ok();
        (child, link.and_then(|line| line.split_whitespace().last().map(str::to_owned)))
    });
    started.await.unwrap()
}

/// The program with nothing of this process's environment but the way to git.
fn program(state_dir: &Path, environment: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", state_dir)
        .env("STATE_DIR", state_dir)
        .envs(environment)
        .stdin(Stdio::null());
    command
}

/// A port that no connection of this host gets by itself: a killed site is to find it free again.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let pid = u16::try_from(std::process::id() % 100).unwrap();
    loop {
        let port = 20_000 + pid * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A directory that the account without rights that git runs as can pass through.
fn open_directory() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o755)).tempdir().unwrap()
}

/// A server on a port of its own, which ends with its test.
pub struct Serving {
    pub url: String,
    serving: JoinHandle<()>,
}

impl Serving {
    pub async fn start(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, serving }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// What answers in the place of every project.
pub struct Pages {
    serving: Serving,
    up: Arc<AtomicBool>,
}

impl Pages {
    async fn start() -> Self {
        let up = Arc::new(AtomicBool::new(true));
        let state = up.clone();
        let answer = move || async move {
            match state.load(Ordering::Relaxed) {
                true => (StatusCode::OK, "a project's page"),
                false => (StatusCode::BAD_GATEWAY, "nothing here"),
            }
        };
        let serving = Serving::start(Router::new().fallback(get(answer))).await;
        Self { serving, up }
    }

    /// Whether projects answer from now on.
    pub fn answer(&self, up: bool) {
        self.up.store(up, Ordering::Relaxed);
    }
}
