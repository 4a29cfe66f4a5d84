//! `ec-deployer backup`, `restore` and `rotate-keys`, as an admin runs them beside a site.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use ec_django_deployer::{
    domain::{Database, Dependencies, DeploymentId, Plan, RepoUrl, SecretValue, Timestamp, UserId, Variable},
    keys,
    store::{Store, Submission, TypeWish, newest_schema},
};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use reqwest::StatusCode;

use crate::{
    helpers::{PASSWORD, Person},
    program::{place, program},
};

const SECRET: &str = "sk_live_0123456789abcdef";

/// A site's host, with two state directories.
pub struct Host {
    pub place: tempfile::TempDir,
}

/// A site that runs.
pub struct Running {
    child: Child,
    url: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn visitor(&self) -> Person {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Person::new(self.url.clone(), client, Default::default())
    }

    /// Somebody who has just signed in with the password.
    async fn mira(&self) -> Person {
        let mut mira = self.visitor();
        mira.get("/login").await;
        let answer = mira.post("/login", &[("username", "mira"), ("password", PASSWORD)]).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/instances"));
        mira
    }
}

impl Host {
    /// With a person, and an instance that has a variable.
    pub async fn new() -> Self {
        let host = Self { place: place() };
        let mut child = host
            .command("state", &["user", "add", "mira", "--admin", "--password-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        keys::log_key(&host.state("state")).unwrap();
        let store = host.store("state").await;
        let submitted = store.submit(&submission(UserId(1))).await.unwrap();
        assert_eq!(submitted.name.as_str(), "shop1");
        store.close().await;
        host.own("state");
        host
    }

    pub fn state(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// The files that this process made there belong to whoever the program runs as.
    pub fn own(&self, name: &str) {
        if nix::unistd::geteuid().is_root() {
            for entry in fs::read_dir(self.state(name)).unwrap() {
                std::os::unix::fs::lchown(entry.unwrap().path(), Some(65534), Some(65534)).unwrap();
            }
        }
    }

    pub async fn store(&self, name: &str) -> Store {
        let state = self.state(name);
        let url = format!("sqlite://{}", state.join("deployer.db").display());
        Store::open(&url).await.unwrap().with_vault(keys::vault(&state).unwrap())
    }

    /// What a machine is given of the variable, by the key of a state directory.
    pub async fn value(&self, name: &str) -> String {
        let store = self.store(name).await;
        let environment = store.give_environment(DeploymentId(1)).await.unwrap();
        store.close().await;
        self.own(name);
        assert!(environment.lost.is_empty());
        environment.variables[0].value.expose().to_owned()
    }

    pub fn command(&self, state: &str, words: &[&str]) -> Command {
        let mut command = program(self.place.path());
        command.env("STATE_DIR", self.state(state)).current_dir(self.place.path()).args(words);
        command
    }

    #[track_caller]
    pub fn well(&self, state: &str, words: &[&str]) -> String {
        let output = self.command(state, words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", both(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    pub fn ill(&self, state: &str, words: &[&str]) -> String {
        let output = self.command(state, words).output().unwrap();
        assert!(!output.status.success(), "{words:?}: {}", both(&output));
        String::from_utf8(output.stderr).unwrap()
    }

    /// A site that has answered once, on a socket of this process.
    pub async fn serve(&self, state: &str) -> Running {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", socket.local_addr().unwrap());
        let child = self
            .command(state, &["serve"])
            .env("LISTEN", "stdin")
            .env("PUBLIC_URL", &url)
            .stdin(OwnedFd::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running { child, url };
        assert_eq!(running.visitor().get("/healthz").await.status, StatusCode::OK);
        running
    }

    /// Every file of a state directory but its lock, with what is in it.
    pub fn files(&self, state: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.state(state)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && !path.ends_with("lock") {
                let bytes = fs::read(&path).unwrap();
                files.push((path, bytes));
            } else if path.is_dir() {
                files.push((path, Vec::new()));
            }
        }
        files.sort();
        files
    }

    /// Whether a restore is refused, why, and that it changed nothing.
    #[track_caller]
    pub fn refused(&self, archive: &str, why: &str) {
        let before = self.files("state");
        let told = self.ill("state", &["restore", archive]);
        assert!(told.contains(why), "{why:?} in {told}");
        assert!(self.files("state") == before, "{archive} changed something");
    }
}

pub fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub fn submission(owner: UserId) -> Submission {
    Submission {
        owner,
        name: Some("shop1".parse().unwrap()),
        repo: RepoUrl::from_stored("https://github.com/you/shop").unwrap(),
        project: "shop".parse().unwrap(),
        branch: None,
        description: String::new(),
        machine_type: TypeWish::default(),
        database: None,
        variables: vec![Variable {
            name: "STRIPE_KEY".parse().unwrap(),
            value: SecretValue::try_from(SECRET.to_owned()).unwrap(),
        }],
        first_admin: None,
        plan: Plan {
            commit: "a".repeat(40).parse().unwrap(),
            subject: "First".into(),
            branch: "main".parse().unwrap(),
            project: "shop".parse().unwrap(),
            settings: "config.settings".into(),
            settings_from: "shop/manage.py".into(),
            wsgi: Some("config.wsgi".into()),
            dependencies: Dependencies::None,
            django: Some("5.2".into()),
            database: Database::Sqlite,
            chosen_database: None,
            variables: Vec::new(),
            python: None,
            committed: None,
            migrations: 1,
            warnings: Vec::new(),
        },
        replace: false,
        received_at: Timestamp::now(),
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_site_starts_another() {
    let host = Host::new().await;
    let running = host.serve("state").await;
    let mira = running.mira().await;
    let told = host.well("state", &["backup", "kept/"]);
    let path = PathBuf::from(told.lines().next().unwrap());
    assert!(told.contains("with 1 person and 1 instance"), "{told}");
    assert_eq!(fs::metadata(host.state(path.to_str().unwrap())).unwrap().permissions().mode() & 0o777, 0o600);
    let told = host.ill("state", &["restore", path.to_str().unwrap()]);
    assert!(told.contains("another site runs") && told.contains("Nothing was changed"), "{told}");
    let told = host.ill("state", &["rotate-keys"]);
    assert!(told.contains("another site runs"), "{told}");
    drop(running);

    host.well("other", &["restore", path.to_str().unwrap()]);
    assert_eq!(host.value("other").await, SECRET);
    let running = host.serve("other").await;
    let mut before = running.visitor();
    before.cookies = mira.cookies;
    let answer = before.get("/instances").await;
    assert!(answer.status.is_redirection() && answer.location().starts_with("/login"), "{}", answer.status);
    running.mira().await.get("/instances").await.has("shop1");
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_beyond_the_limit_go_and_other_files_stay() {
    let host = Host::new().await;
    let kept = host.place.path().join("kept");
    for _ in 0..2 {
        host.well("state", &["backup", "kept/"]);
    }
    let mine = ["mine.tar.gz", "ec-deployer-notes.tar.gz"].map(|name| kept.join(name));
    for path in &mine {
        fs::write(path, "mine").unwrap();
    }
    let first = names(&kept);
    let told = host.well("state", &["backup", "kept", "--keep", "2"]);
    assert_eq!(told.matches("removed ").count(), 1, "{told}");
    let after = names(&kept);
    assert_eq!(after.len(), 4, "{first:?} {after:?}");
    assert!(mine.iter().all(|path| path.exists()));
    assert!(kept.join(Path::new(told.lines().next().unwrap()).file_name().unwrap()).exists());

    for _ in 0..2 {
        host.well("state", &["backup", "one.tar.gz"]);
    }
    let told = host.ill("state", &["backup", "one.tar.gz", "--keep", "2"]);
    assert!(told.contains("--keep goes with a directory"), "{told}");
    for (name, of) in [("deployer.db", "state"), ("variables.key", "state"), ("mine.tar.gz", "kept")] {
        let before = host.files("state");
        let path = host.state(of).join(name);
        let told = host.ill("state", &["backup", path.to_str().unwrap()]);
        assert!(told.contains(&format!("{} is there, is no backup", path.display())), "{told}");
        assert!(host.files("state") == before && fs::read(&mine[0]).unwrap() == b"mine", "{name}");
    }
    let told = host.ill("nowhere", &["backup", "one.tar.gz"]);
    assert!(told.contains("there is no database at"), "{told}");
    // What was there is put aside, and stays what it was.
    host.well("state", &["rotate-keys"]);
    let rotated = fs::read(host.state("state").join("variables.key")).unwrap();
    let told = host.well("state", &["restore", "one.tar.gz"]);
    let aside = told.split_once("What was there before is in ").unwrap().1.split_once(".\n").unwrap().0;
    assert_eq!(fs::read(Path::new(aside).join("variables.key")).unwrap(), rotated);
    assert!(Path::new(aside).join("deployer.db").exists());
    assert_eq!(host.value("state").await, SECRET);
    assert!(names(host.place.path()).iter().all(|name| !name.contains("scratch")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_has_no_room_is_not_begun() {
    let host = Host::new().await;
    // What it takes is only said, and no disk has it twice.
    let log = fs::File::create(host.state("state").join("deployer.db-wal")).unwrap();
    log.set_len(1 << 42).unwrap();
    let told = host.ill("state", &["backup", "kept/"]);
    assert!(told.contains("too little room: this backup, while it is made, takes 87960"), "{told}");
    assert_eq!(names(&host.state("kept")), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_none_changes_nothing() {
    let host = Host::new().await;
    let path = |name: &str| host.place.path().join(name);
    host.well("state", &["backup", "good.tar.gz"]);
    host.well("newer", &["restore", "good.tar.gz"]);
    let url = format!("sqlite://{}", host.state("newer").join("deployer.db").display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let newer = newest_schema() + 1;
    sqlx::query("INSERT INTO _sqlx_migrations SELECT $1, description, installed_on, success, checksum, execution_time FROM _sqlx_migrations LIMIT 1")
        .bind(newer)
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    host.own("newer");
    host.well("newer", &["backup", "newer.tar.gz"]);
    host.refused("newer.tar.gz", &format!("this backup has schema {newer}"));
    host.refused("newer.tar.gz", &format!("knows schemas up to {}", newest_schema()));

    let good = fs::read(path("good.tar.gz")).unwrap();
    for (name, bytes) in [
        ("empty", &good[..0]),
        ("half", &good[..good.len() / 2]),
        ("short", &good[..good.len() - 4]),
        ("text", &b"a letter"[..]),
    ] {
        fs::write(path(name), bytes).unwrap();
        host.refused(name, "is no backup of `ec-deployer backup`");
    }
    let mut manifest = Vec::new();
    let mut good = tar::Archive::new(GzDecoder::new(&good[..]));
    good.entries().unwrap().next().unwrap().unwrap().read_to_end(&mut manifest).unwrap();
    for (begins, name, why) in [
        (false, "deployer.db", "it does not begin with its manifest"),
        (true, "../../escaped", "does not belong in it"),
        (true, "/tmp/escaped", "does not belong in it"),
        (true, "variables.key", "does not belong in it"),
        (true, "deployer.db", "its database has another size than it says"),
        (true, "././@LongLink", "\"././@LongLink\" in it is no plain file"),
    ] {
        let file = fs::File::create(path("trick")).unwrap();
        let mut tar = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
        let mut header = tar::Header::new_gnu();
        if begins {
            header.set_size(manifest.len() as u64);
            tar.append_data(&mut header, "manifest.json", &manifest[..]).unwrap();
            header = tar::Header::new_gnu();
        }
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(4);
        if name.ends_with("LongLink") {
            header.set_entry_type(tar::EntryType::GNULongName);
        }
        header.set_cksum();
        tar.append(&header, &b"evil"[..]).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        host.refused("trick", why);
    }
    host.refused("missing", "missing");
    host.refused(".", "is a directory");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_open_what_is_there_and_take_no_token_of_before() {
    let host = Host::new().await;
    let state = host.state("state");
    let old = keys::log_key(&state).unwrap().token(DeploymentId(1));
    let key = fs::read(state.join("variables.key")).unwrap();
    let told = host.well("state", &["rotate-keys"]);
    assert!(told.contains("1 values of variables and passwords are sealed"), "{told}");
    assert_ne!(fs::read(state.join("variables.key")).unwrap(), key);
    assert!(!state.join("variables.key.next").exists());
    assert!(!keys::log_key(&state).unwrap().accepts(DeploymentId(1), &old));
    assert_eq!(host.value("state").await, SECRET);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_that_was_broken_off_is_undone_or_finished() {
    let host = Host::new().await;
    let state = host.state("state");
    let key = || fs::read(state.join("variables.key")).unwrap();
    let before = key();
    // Before anything was sealed.
    keys::make_next_vault(&state).unwrap();
    host.own("state");
    host.well("state", &["user", "list"]);
    drop(host.serve("state").await);
    assert!(!state.join("variables.key.next").exists());
    assert_eq!(key(), before);
    assert_eq!(host.value("state").await, SECRET);
    // After everything was; a backup of that moment opens as well.
    let next = keys::make_next_vault(&state).unwrap();
    let store = host.store("state").await;
    assert_eq!(store.reseal(store.vault(), &next).await.unwrap().sealed, 1);
    store.close().await;
    host.own("state");
    host.well("state", &["backup", "between.tar.gz"]);
    drop(host.serve("state").await);
    assert!(!state.join("variables.key.next").exists());
    assert_ne!(key(), before);
    assert_eq!(host.value("state").await, SECRET);
    host.well("other", &["restore", "between.tar.gz"]);
    drop(host.serve("other").await);
    assert_eq!(host.value("other").await, SECRET);
}
