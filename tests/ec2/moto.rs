//! moto, a stand-in for AWS that others wrote, on a free port of loopback.
//!
//! One process serves all tests: its first answer takes two seconds, and accounts are as far apart in it as
//! processes would be. A test has an account of its own, which the header [`ACCOUNT`] names.

use std::{
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_sdk_ec2::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
    interceptors::BeforeTransmitInterceptorContextMut,
};

/// The header of requests to moto that names the account.
pub const ACCOUNT: &str = "x-moto-account-id";
/// The region of all tests.
pub const REGION: &str = "eu-west-1";
/// Longest time until moto listens; it takes half a second where nothing else runs.
const START: Duration = Duration::from_secs(60);
/// moto takes bogus images, types and keys unless it is told not to.
const STRICT: [&str; 3] = [
    "MOTO_ENABLE_AMI_VALIDATION",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION",
    "MOTO_ENABLE_KEYPAIR_VALIDATION",
];
/// moto, which ends with its standard input: the kernel closes that however this process ends.
const SERVER: &str = "import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main()
";

/// The address of the moto that all tests share: it is started once and ends with this process.
pub fn moto() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(start)
}

/// An account that no other test has.
pub fn next_account() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(200_000_000_001);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

/// A moto of its own, for a test that changes what is the whole server's.
pub fn start() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = Command::new(python())
        .args(["-c", SERVER, "-p", &port.to_string()])
        .envs(STRICT.map(|name| (name, "1")))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("moto: run scripts/setup.sh test");
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "moto ended at once: run scripts/setup.sh test");
        assert!(begun.elapsed() < START, "moto does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The other end of its standard input is held for as long as this process lives, and the child with it.
    std::mem::forget(child.stdin.take());
    std::mem::forget(child);
    format!("http://127.0.0.1:{port}")
}

/// The Python of moto's virtual environment.
pub fn python() -> PathBuf {
    programs().join("python")
}

/// The programs of moto's virtual environment.
pub fn programs() -> PathBuf {
    let directory = std::env::var_os("EC_TEST_MOTO")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/../moto-5.2.5")), PathBuf::from);
    assert!(directory.join(".complete").exists(), "moto is not there: run scripts/setup.sh test");
    directory.join("bin")
}

/// A client of moto itself, past the proxy: what really is there, and what happens outside the site.
pub fn client(account: &str) -> aws_sdk_ec2::Client {
    client_at(moto(), account)
}

/// A client of moto by way of any address.
pub fn client_at(url: &str, account: &str) -> aws_sdk_ec2::Client {
    let config = aws_sdk_ec2::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
        .retry_config(aws_sdk_ec2::config::retry::RetryConfig::disabled())
        .endpoint_url(url)
        .interceptor(InAccount(account.to_owned()))
        .build();
    aws_sdk_ec2::Client::from_conf(config)
}

/// The same for IAM.
pub fn iam(account: &str) -> aws_sdk_iam::Client {
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
        .endpoint_url(moto())
        .interceptor(InAccount(account.to_owned()))
        .build();
    aws_sdk_iam::Client::from_conf(config)
}

/// Names the account in each request.
#[derive(Debug)]
struct InAccount(String);

impl Intercept for InAccount {
    fn name(&self) -> &'static str {
        "account"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_ec2::error::BoxError> {
        context.request_mut().headers_mut().insert(ACCOUNT, self.0.clone());
        Ok(())
    }
}
