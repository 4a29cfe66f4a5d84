//! The program as a process, with a state directory, a bridge and a subnet of its own, and a golden
//! image that is baked from nothing once.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use ec_django_deployer::{
    cloud::local::{Local, LocalConfig},
    domain::InstanceId,
    user_data,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{host::cache, person::Person};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ec-deployer");
/// Longest time a site takes to say where it is.
const START: Duration = Duration::from_secs(30);

/// A bridge's name and a subnet that nothing else on this host uses.
#[derive(Clone, Debug)]
pub struct Network {
    pub bridge: String,
    pub gateway: Ipv4Addr,
}

impl Network {
    /// The next network of this test run: by process id, so that two runs keep apart.
    pub fn next() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let pid = std::process::id();
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let second = 200 + u8::try_from(n % 20).unwrap_or_default();
        let third = u8::try_from(pid % 250).unwrap_or_default();
        Self { bridge: format!("ec{:x}x{n}", pid & 0xf_ffff), gateway: Ipv4Addr::new(10, second, third, 1) }
    }

    pub fn subnet(&self) -> String {
        let [a, b, c, _] = self.gateway.octets();
        format!("{a}.{b}.{c}.0/24")
    }
}

/// The program as a running site.
pub struct Site {
    pub url: String,
    pub state_dir: PathBuf,
    pub network: Network,
    child: Child,
    port: u16,
    log: PathBuf,
}

impl Site {
    /// Starts a site with a golden image at hand and its first admin, and gives both.
    pub async fn start(name: &str) -> (Self, Person) {
        let state_dir = cache().join(format!("{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&state_dir);
        fs::create_dir_all(state_dir.join("local")).unwrap();
        fs::copy(golden().join("deployer.db"), state_dir.join("deployer.db")).unwrap();
        lend_images(&state_dir.join("local"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let network = Network::next();
        let log = state_dir.join("site.log");
        let (child, setup) = spawn(&state_dir, &network, port, &log);
        let url = format!("http://127.0.0.1:{port}");
        let site = Self { url, state_dir, network, child, port, log };
        let person = Person::new(&site.url);
        person.set_up(&setup.expect("a set-up link"), "mira", "correct horse battery").await;
        (site, person)
    }

    /// Lends the site the base that the golden image was baked from, so that a bake need not make one first.
    pub fn lend_base(&self) {
        for entry in fs::read_dir(golden().join("local")).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("base-") {
                let lent = self.state_dir.join("local").join(entry.file_name());
                std::os::unix::fs::symlink(entry.path(), lent).unwrap();
            }
        }
    }

    /// Where machines reach the site.
    pub fn callback_url(&self) -> String {
        format!("http://{}:8001", self.network.gateway)
    }

    /// Kills the site with no chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the killed site again.
    pub fn restart(&mut self) {
        (self.child, _) = spawn(&self.state_dir, &self.network, self.port, &self.log);
    }

    /// The process.
    #[allow(dead_code, reason = "measurements ask for it")]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the site as a service manager does, and says whether it ended well.
    pub fn stop(&mut self) -> bool {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Adds a person by the program's own subcommand.
    pub async fn add_user(&self, username: &str, password: &str) -> Person {
        let mut child = Command::new(PROGRAM)
            .args(["user", "--state-dir"])
            .arg(&self.state_dir)
            .args(["add", username, "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("{password}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        let person = Person::new(&self.url);
        person.sign_in(username, password).await;
        person
    }

    /// The same cloud as the site's, to do to a machine what nobody tells the site of.
    pub fn cloud(&self) -> Local {
        Local::new(LocalConfig {
            state_dir: self.state_dir.join("local"),
            bridge: self.network.bridge.clone(),
            gateway: self.network.gateway,
            prefix: 24,
            callback_port: 8001,
            site: site_id(&self.state_dir),
            program: PROGRAM.into(),
            copy_host_trust: true,
        })
    }

    /// Runs a command as root on a machine and gives its output.
    pub async fn exec(&self, id: &str, command: &[&str]) -> String {
        let id: InstanceId = id.parse().unwrap();
        let output = self.cloud().exec(&id, command).await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Nothing that a test made may outlive it, however it ended.
impl Drop for Site {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.stop();
        }
        let cloud = self.cloud();
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                for machine in cloud.list().await.unwrap_or_default() {
                    let _ = cloud.terminate(&machine.id).await;
                }
                let _ = cloud.teardown().await;
            });
        });
        let _ = cleaned.join();
        if std::thread::panicking() {
            eprintln!("the site's log:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
        let _ = fs::remove_dir_all(&self.state_dir);
    }
}

/// Lends a local cloud's state directory the golden image, and gives its name.
pub fn lend_images(to: &Path) -> String {
    // Hard links: an image is never changed, and a copy would take longer than the test.
    let images = golden().join("local/images");
    assert!(Command::new("cp").arg("-alT").arg(&images).arg(to.join("images")).status().unwrap().success());
    let names = fs::read_dir(images).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).next().expect("the golden image")
}

fn site_id(state_dir: &Path) -> String {
    let output = Command::new("sqlite3")
        .arg(state_dir.join("deployer.db"))
        .arg("SELECT site FROM site")
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Starts the program and waits until it says where it is; with the set-up link, where it gives one.
fn spawn(state_dir: &Path, network: &Network, port: u16, log: &Path) -> (Child, Option<String>) {
    let stderr = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut child = program(state_dir, network)
        .arg("serve")
        .env("LISTEN", format!("127.0.0.1:{port}"))
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    let at = told.recv_timeout(START).unwrap_or_else(|_| {
        let _ = child.kill();
        panic!("the site did not start:\n{}", fs::read_to_string(log).unwrap_or_default())
    });
    assert!(at.contains(&format!("http://127.0.0.1:{port}")), "{at}");
    let link = told.recv_timeout(Duration::from_millis(500)).ok();
    (child, link.and_then(|line| line.split_whitespace().last().map(str::to_owned)))
}

fn program(state_dir: &Path, network: &Network) -> Command {
    let mut command = Command::new(PROGRAM);
    for name in ["PUBLIC_URL", "CALLBACK_URL", "DATABASE_URL", "GIT_HOSTS", "TRUSTED_PROXIES", "LISTEN"] {
        command.env_remove(name);
    }
    command
        .env("STATE_DIR", state_dir)
        .env("CLOUD", "local")
        .env("LOCAL_BRIDGE", &network.bridge)
        .env("LOCAL_SUBNET", network.subnet())
        .env("RUST_LOG", "info,tower_http=warn,ec_django_deployer=debug")
        .stdin(Stdio::null());
    command
}

/// A state directory with a golden image, baked from nothing by the program's own subcommand; in CI always, else
/// where an earlier run has left none of the scripts as they are.
fn golden() -> &'static Path {
    static GOLDEN: OnceLock<PathBuf> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let dir = cache().join(format!("golden-{}", &user_data::image_digest()[..16]));
        if dir.join("baked").exists() && std::env::var_os("CI").is_none() {
            return dir;
        }
        // Those of other scripts are of no use any more, and large.
        for old in fs::read_dir(cache()).unwrap().flatten() {
            if old.file_name().to_string_lossy().starts_with("golden-") {
                fs::remove_dir_all(old.path()).unwrap();
            }
        }
        let output = program(&dir, &Network::next()).arg("bake").output().unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "the bake failed:\n{log}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::write(dir.join("baked"), log.as_bytes()).unwrap();
        dir
    })
}

/// What the bake of the golden image printed.
pub fn bake_log() -> String {
    fs::read_to_string(golden().join("baked")).unwrap()
}
