//! One release of the site after another on a socket that outlives both: nobody is refused, and no request is lost.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    path::Path,
    process::{Child, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::program::{place, program};

/// Longest time that a request may take, a stop and a start included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A site of a place, on a socket that somebody else has opened.
struct Release {
    child: Child,
}

impl Release {
    fn start(place: &Path, socket: &TcpListener, name: &str) -> Self {
        let child = program(place)
            .arg("serve")
            .env("LISTEN", "stdin")
            .env("PUBLIC_URL", format!("http://{}", socket.local_addr().unwrap()))
            .env("RELEASE", name)
            .stdin(OwnedFd::from(socket.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn send(stream: &mut TcpStream) {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
}

/// The head of the next answer, in small letters, and its JSON.
fn answer(stream: &mut TcpStream) -> (String, Value) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{error} after {head:?}"));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// The release that answers on a connection of its own.
fn ask(address: SocketAddr) -> String {
    let mut stream = connect(address);
    send(&mut stream);
    answer(&mut stream).1["release"].as_str().unwrap().to_owned()
}

/// Who asks again and again: which release answered each time, or why none did.
struct Client {
    ends: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Result<String, String>>>>,
    asking: tokio::task::JoinHandle<()>,
}

impl Client {
    /// With a connection for each request, or as few connections as HTTP allows.
    fn start(address: SocketAddr, keeps_connections: bool) -> Self {
        let idle = if keeps_connections { usize::MAX } else { 0 };
        let client =
            reqwest::Client::builder().pool_max_idle_per_host(idle).timeout(PATIENCE).build().unwrap();
        let (ends, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let asking = tokio::spawn({
            let (ends, answers) = (ends.clone(), answers.clone());
            async move {
                while !ends.load(Ordering::SeqCst) {
                    let said = async {
                        let response = client.get(format!("http://{address}/healthz")).send().await?;
                        response.error_for_status()?.text().await
                    };
                    let said = said.await.map_err(|error| format!("{error:?}"));
                    let release = said.map(|text| {
                        let json: Value = serde_json::from_str(&text).unwrap();
                        json["release"].as_str().unwrap().to_owned()
                    });
                    answers.lock().unwrap().push(release);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        Self { ends, answers, asking }
    }

    /// Waits until a release has answered so often.
    async fn heard(&self, release: &str, times: usize) {
        let begun = Instant::now();
        let count = || {
            let answers = self.answers.lock().unwrap();
            answers.iter().filter(|answer| answer.as_deref() == Ok(release)).count()
        };
        while count() < times {
            assert!(begun.elapsed() < PATIENCE, "{release} does not answer: {:?}", self.failures());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn failures(&self) -> Vec<String> {
        self.answers.lock().unwrap().iter().filter_map(|answer| answer.clone().err()).collect()
    }

    async fn end(self) -> Vec<String> {
        self.ends.store(true, Ordering::SeqCst);
        let failures = self.failures();
        self.asking.await.unwrap();
        failures
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_one_release_follows_another() {
    let place = place();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut running = Release::start(place.path(), &socket, "0");
    // Some that knock at different moments, as a site has them.
    let mut clients: Vec<_> = (0..4).map(|_| Client::start(address, false)).collect();
    clients.push(Client::start(address, true));
    for next in 1..4 {
        for client in &clients {
            client.heard(&(next - 1).to_string(), 100).await;
        }
        running.signal(Signal::SIGTERM);
        let ended = tokio::task::spawn_blocking(move || running.ended()).await.unwrap();
        assert!(ended.success(), "{ended}");
        running = Release::start(place.path(), &socket, &next.to_string());
    }
    for client in clients {
        client.heard("3", 100).await;
        assert_eq!(client.end().await, Vec::<String>::new());
    }
}

#[test]
fn a_request_that_is_on_its_way_when_the_site_is_asked_to_end_is_answered() {
    let place = place();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut running = Release::start(place.path(), &socket, "first");
    assert_eq!(ask(address), "first");

    let mut fresh = connect(address);
    let mut kept = connect(address);
    send(&mut kept);
    let (head, _) = answer(&mut kept);
    assert!(!head.contains("connection: close"), "{head}");
    // This one's connection was made last, so that the others were accepted before it answers.
    assert_eq!(ask(address), "first");
    running.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(200));
    for stream in [&mut fresh, &mut kept] {
        send(stream);
        let (head, json) = answer(stream);
        assert_eq!(json["release"], "first");
        assert!(head.contains("connection: close"), "{head}");
    }
    // It is in the queue of the socket, and is answered by the next release.
    let mut late = connect(address);
    send(&mut late);
    assert!(running.ended().success());
    let _next = Release::start(place.path(), &socket, "second");
    assert_eq!(answer(&mut late).1["release"], "second");
}

#[test]
fn nobody_is_refused_after_a_site_was_killed() {
    let place = place();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut running = Release::start(place.path(), &socket, "first");
    assert_eq!(ask(address), "first");
    running.signal(Signal::SIGKILL);
    running.ended();
    let mut waits = connect(address);
    send(&mut waits);
    let _next = Release::start(place.path(), &socket, "second");
    assert_eq!(answer(&mut waits).1["release"], "second");
}

#[test]
fn what_is_no_listening_socket_is_refused_with_a_sentence() {
    let place = place();
    let run = |stdin: Stdio, settings: &[(&str, &str)]| {
        let mut command = program(place.path());
        command.arg("serve").env("LISTEN", "stdin").envs(settings.iter().copied()).stdin(stdin);
        let output = command.output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let said = run(OwnedFd::from(listener()).into(), &[]);
    assert!(said.contains("LISTEN=stdin needs PUBLIC_URL"), "{said}");

    let open = listener();
    let connected = TcpStream::connect(open.local_addr().unwrap()).unwrap();
    let local = place.path().join("socket");
    let others: [Stdio; 5] = [
        Stdio::null(),
        Stdio::piped(),
        OwnedFd::from(connected).into(),
        OwnedFd::from(UdpSocket::bind("127.0.0.1:0").unwrap()).into(),
        OwnedFd::from(std::os::unix::net::UnixListener::bind(local).unwrap()).into(),
    ];
    for stdin in others {
        let said = run(stdin, &[("PUBLIC_URL", "http://127.0.0.1:1")]);
        assert!(said.contains("LISTEN=stdin: standard input is no listening TCP socket"), "{said}");
    }
    let said = run(Stdio::null(), &[("LISTEN", "8000")]);
    assert!(said.contains("neither an address with a port"), "{said}");
}

#[test]
fn the_version_names_the_commit_where_the_build_was_told() {
    let expected = match option_env!("EC_COMMIT") {
        None | Some("") => env!("CARGO_PKG_VERSION").to_owned(),
        Some(commit) => format!("{}+{}", env!("CARGO_PKG_VERSION"), &commit[..12]),
    };
    assert_eq!(ec_django_deployer::VERSION, expected);
    let output = program(place().path()).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("ec-deployer {expected}\n"));
}
