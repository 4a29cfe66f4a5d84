//! A part of this host that a test has for itself: a local cloud with its own state directory, bridge and
//! network, and what can be seen of it from outside.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, Once,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use ec_django_deployer::{
    cloud::{
        BakeSpec, Baked, CloudError, LaunchRequest,
        local::{Local, LocalConfig},
    },
    domain::{ImageId, InstanceId},
};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// An image script that installs nothing.
pub const IMAGE_SCRIPT: &str = "#!/bin/bash
exec >> /var/log/ec-deployer/image.log 2>&1
echo '::ec step packages start'
echo baked > /etc/baked
cat /etc/environment
echo '::ec step packages ok 0.01'
echo '::ec done'
systemctl poweroff
";

/// A part of this host.
pub struct Host {
    pub cloud: Local,
    pub config: LocalConfig,
    /// The ids of all machines that were asked for.
    ids: Mutex<BTreeSet<String>>,
}

impl Host {
    /// A part of its own, prepared.
    pub async fn new() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(clear_killed_runs);
        let host = Self::of(Self::free_config());
        host.cloud.prepare().await.expect("this host can run machines");
        host
    }

    pub fn of(config: LocalConfig) -> Self {
        Self { cloud: Local::new(config.clone()), config, ids: Mutex::default() }
    }

    /// Names and a network that nobody else here has.
    pub fn free_config() -> LocalConfig {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let config = Self::config(std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        fs::create_dir_all(&config.state_dir).unwrap();
        for base in bases(&cache()) {
            std::os::unix::fs::symlink(&base, config.state_dir.join(base.file_name().unwrap())).unwrap();
        }
        config
    }

    fn config(pid: u32, count: u8) -> LocalConfig {
        let in_use = run("ip", &["-4", "addr", "show"]);
        let gateway = (0..=255)
            .map(|n| Ipv4Addr::new(10, 230 + count % 10, (pid as u8).wrapping_add(n), 1))
            .find(|gateway| !in_use.contains(&format!("{gateway}/")))
            .expect("a free network");
        LocalConfig {
            state_dir: cache().join(format!("run-{pid}-{count}")),
            bridge: format!("ect{pid}x{count}"),
            gateway,
            prefix: 24,
            callback_port: 8001,
            site: format!("test-{pid}-{count}"),
            program: env!("CARGO_BIN_EXE_ec-deployer").into(),
            copy_host_trust: true,
        }
    }

    /// Bakes an image of this script; gives what came of it, and its log.
    pub async fn bake(&self, image: i64, script: &str) -> (Result<Baked, CloudError>, String) {
        // One base is made for all tests.
        static BASE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let alone = BASE.lock().await;
        for base in bases(&cache()) {
            let _ = std::os::unix::fs::symlink(&base, self.config.state_dir.join(base.file_name().unwrap()));
        }
        let (send, mut log) = mpsc::channel(16);
        let spec = BakeSpec { image: ImageId(image), script: script.as_bytes().to_vec() };
        let read = async {
            let mut text = Vec::new();
            while let Some(bytes) = log.recv().await {
                text.extend(bytes);
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let (baked, log) = tokio::join!(self.cloud.bake(spec, send), read);
        self.keep_base();
        drop(alone);
        (baked, log)
    }

    /// An image to launch from.
    pub async fn image(&self) -> String {
        let started = Instant::now();
        let (baked, log) = self.bake(1, IMAGE_SCRIPT).await;
        println!("baked in {:.2} s", started.elapsed().as_secs_f64());
        baked.unwrap_or_else(|error| panic!("{error}: {log}")).cloud_ref
    }

    fn keep_base(&self) {
        for base in bases(&self.config.state_dir) {
            if !base.is_symlink() {
                let kept = cache().join(base.file_name().unwrap());
                if fs::rename(&base, &kept).is_ok() {
                    std::os::unix::fs::symlink(&kept, &base).unwrap();
                }
            }
        }
    }

    /// A request for a machine, with a token that no other test has.
    pub fn request(&self, token: &str, image: &str, user_data: &str) -> LaunchRequest {
        let script = format!("#!/bin/bash\nset -euo pipefail\n{user_data}\n");
        self.request_with(token, image, script.into_bytes())
    }

    /// The same with user data of these bytes.
    pub fn request_with(&self, token: &str, image: &str, user_data: Vec<u8>) -> LaunchRequest {
        let token = format!("{token}-{}", self.config.site);
        let digest = hex::encode(Sha256::digest(&token));
        let id = format!("i-{}", &digest[..17]);
        crate::trace::booted(&id);
        self.ids.lock().unwrap().insert(id);
        LaunchRequest {
            token,
            site: self.config.site.clone(),
            instance: "shop".parse().unwrap(),
            image: image.to_owned(),
            user_data,
            placement: None,
        }
    }

    /// What a command as root on the machine prints, once it succeeds.
    pub async fn exec(&self, id: &InstanceId, script: &str) -> String {
        let output = self.cloud.exec(id, &["bash", "-c", script]).await.expect("the machine can be entered");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs a command as root on the machine, however long it takes, and gives whether it succeeded and what it printed.
    pub async fn run_long(&self, id: &InstanceId, command: &[&str]) -> (bool, String) {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let unit = format!("long-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let log = format!("/run/{unit}.log");
        let output = format!("--property=StandardOutput=file:{log}");
        // It stays, so that it can be asked how it ended.
        let mut start = vec!["systemd-run", "--quiet", "--service-type=exec", "--remain-after-exit"];
        let unit_is = format!("--unit={unit}");
        start.extend([unit_is.as_str(), &output, "--property=StandardError=inherit", "--"]);
        start.extend(command);
        let started = self.cloud.exec(id, &start).await.expect("the machine can be entered");
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let look = format!("systemctl show --value -p SubState -p Result {unit}");
        loop {
            let said = self.exec(id, &look).await;
            if !said.contains("running") && !said.contains("start") {
                let text = self.exec(id, &format!("cat {log}")).await;
                self.exec(
                    id,
                    &format!("systemctl stop {unit}; systemctl reset-failed {unit} 2>/dev/null || true"),
                )
                .await;
                return (said.contains("success"), text);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until a command as root on the machine succeeds.
    pub async fn wait_for(&self, id: &InstanceId, script: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.cloud.exec(id, &["bash", "-c", script]).await {
                Ok(output) if output.status.success() => return,
                answer if Instant::now() > deadline => {
                    let console = self.cloud.console(id).await.unwrap_or_default();
                    panic!("{script}: {answer:?}\n{}", String::from_utf8_lossy(&console));
                }
                _ => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// All of this part that can be seen on the host, a line each.
    pub fn traces(&self) -> BTreeSet<String> {
        let state = self.config.state_dir.display().to_string();
        let network = self.config.gateway.to_string();
        let network = network.rsplit_once('.').unwrap().0;
        let mut traces = BTreeSet::new();
        let mut keep = |what: &str, text: &str, about: &[&str]| {
            for line in text.lines().filter(|line| about.iter().any(|word| line.contains(word))) {
                traces.insert(format!("{what}: {line}"));
            }
        };
        keep("mount", &fs::read_to_string("/proc/self/mountinfo").unwrap(), &[&state]);
        let bridge = self.config.bridge.as_str();
        keep("address", &run("ip", &["-oneline", "addr"]), &[network, bridge]);
        keep("link", &run("ip", &["-oneline", "-d", "link"]), &[&format!("master {bridge} ")]);
        // A bridge without a port has no carrier, which its route shows.
        let routes = run("ip", &["route", "show", "table", "all"]).replace(" linkdown", "");
        keep("route", &routes, &[network, bridge]);
        for table in ["filter", "nat", "mangle"] {
            keep(table, &run("iptables", &["-w", "5", "-t", table, "-S"]), &[network, bridge]);
        }
        let mut about: Vec<_> = self.ids.lock().unwrap().iter().cloned().collect();
        about.push(format!("-{}", &hex::encode(Sha256::digest(&self.config.site))[..8]));
        about.push(state.clone());
        let about: Vec<_> = about.iter().map(String::as_str).collect();
        keep("process", &processes(), &about);
        let inside = ["-not", "-path", "*/base-*/*", "-not", "-path", "*/images/*/*"];
        keep("file", &run("find", &[&[state.as_str()][..], &inside].concat()), &[""]);
        keep("group", &run("find", &["/sys/fs/cgroup", "-type", "d"]), &about);
        keep("runtime", &run("find", &["/run/systemd/nspawn"]), &about);
        traces
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let cloud = self.cloud.clone();
        let clear = async move {
            for machine in cloud.list().await? {
                cloud.terminate(&machine.id).await?;
            }
            cloud.prepare().await?;
            cloud.teardown().await
        };
        let cleared = std::thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(clear)).join();
        if let Ok(Ok(())) = cleared {
            fs::remove_dir_all(&self.config.state_dir).unwrap();
        } else {
            eprintln!("{} was not cleared: {cleared:?}", self.config.state_dir.display());
        }
    }
}

/// Clears what a run of the tests left that was killed.
fn clear_killed_runs() {
    for entry in fs::read_dir(cache()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some((pid, count)) = name.strip_prefix("run-").and_then(|rest| rest.split_once('-')) else {
            continue;
        };
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if !command.contains("machines-") {
            drop(Host::of(Host::config(pid.parse().unwrap(), count.parse().unwrap())));
        }
    }
}

/// What is kept from one run to the next, and where the tests' sites live: outside of a checkout, whose
/// directories may be closed to the account that git runs as.
pub fn cache() -> PathBuf {
    let path = std::env::var_os("EC_TEST_STATE").map_or("/var/tmp/ec-deployer-tests".into(), PathBuf::from);
    fs::create_dir_all(&path).unwrap();
    path.canonicalize().unwrap()
}

fn bases(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("base-")).collect()
}

/// Every process in a line: its number, its command line and its control groups.
fn processes() -> String {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name());
    let pids = names.filter_map(|name| name.into_string().ok()).filter(|name| name.parse::<u32>().is_ok());
    let own = std::process::id().to_string();
    pids.filter(|pid| *pid != own)
        .filter_map(|pid| {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // One that is dead and not yet buried, which is up to the host's first process.
            if state.rsplit_once(')')?.1.starts_with(" Z") {
                return None;
            }
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            Some(format!("{pid} {line} {groups}").replace('\n', " ") + "\n")
        })
        .collect()
}

/// What a tool of the host prints.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A listener that answers every connection with its name, until the test's runtime ends.
pub async fn answer(address: (Ipv4Addr, u16)) {
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"here\n").await;
        }
    });
}
