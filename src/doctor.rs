//! `ec-deployer doctor`: whether the site, and its machines, can run by these settings; a line for each thing looked at,
//! with the cure. It may be run at any time: a site that runs notices nothing.

use std::{
    fs, io,
    io::Write,
    net::{IpAddr, SocketAddr},
};

use tokio::{signal::unix::SignalKind, sync::mpsc};

use crate::{
    cloud::{Finding, Gravity},
    config::{CloudKind, Config, Origin},
    keys, serve,
    serve::ServeError,
    store::Store,
};

/// Looks at everything and prints what it finds; says whether nothing is bad.
///
/// # Errors
/// Where it cannot even begin, or cannot print.
pub async fn doctor(config: Config) -> Result<bool, ServeError> {
    let mut tally = Tally::default();
    let site = keys::lock_holder(&config.state_dir);
    let first = [version_finding(), site_finding(site)].into_iter().chain(settings_finding(&config));
    for finding in first.chain(port_findings(&config, site.is_some())) {
        tally.tell(&finding)?;
    }
    // No machine is made; but what is there already may be looked at, once there is a database.
    let id = Store::site_of(&config.database_url(), site.is_some()).await.unwrap_or_default();
    let cloud = serve::open_cloud(&config, &id).await?;
    let (send, mut findings) = mpsc::unbounded_channel();
    let state_dir = config.state_dir.clone();
    let look = cloud.examine(config.git_hosts.addresses(), move || keys::lock_holder(&state_dir), send);
    tokio::pin!(look);
    let mut interrupted = tokio::signal::unix::signal(SignalKind::interrupt()).map_err(ServeError::State)?;
    let mut terminated = tokio::signal::unix::signal(SignalKind::terminate()).map_err(ServeError::State)?;
    let (mut ended, mut whole) = (false, true);
    loop {
        tokio::select! {
            // What comes is printed before the end is looked at.
            biased;
            Some(finding) = findings.recv() => tally.tell(&finding)?,
            () = &mut look, if !ended => ended = true,
            // What was laid for the look is taken away first.
            _ = interrupted.recv() => { whole = false; findings.close() }
            _ = terminated.recv() => { whole = false; findings.close() }
            else => break,
        }
        if ended && findings.is_empty() {
            break;
        }
    }
    tally.sum_up(whole)?;
    Ok(whole && tally.bad == 0)
}

/// How many findings there were of which gravity.
#[derive(Default)]
struct Tally {
    ok: usize,
    warn: usize,
    bad: usize,
}

impl Tally {
    fn tell(&mut self, finding: &Finding) -> Result<(), ServeError> {
        match finding.gravity {
            Gravity::Ok => self.ok += 1,
            Gravity::Warn => self.warn += 1,
            Gravity::Bad => self.bad += 1,
        }
        writeln!(io::stdout().lock(), "{finding}").map_err(ServeError::State)
    }

    fn sum_up(&self, whole: bool) -> Result<(), ServeError> {
        let Self { ok, warn, bad } = self;
        let broken_off = if whole { "" } else { "; it was broken off" };
        writeln!(io::stdout().lock(), "{ok} ok, {warn} to look at, {bad} bad{broken_off}")
            .map_err(ServeError::State)
    }
}

fn site_finding(site: Option<i32>) -> Finding {
    Finding::ok(match site {
        Some(pid) => format!("a site runs on this state directory: process {pid}"),
        None => "no site runs on this state directory now".to_owned(),
    })
}

fn version_finding() -> Finding {
    Finding::ok(format!("this is version {}", crate::VERSION))
}

/// What of the settings does not go together.
fn settings_finding(config: &Config) -> Option<Finding> {
    let error = config.check().err()?;
    Some(Finding::bad(error.to_string(), "set PUBLIC_URL to the site's address as browsers see it"))
}

/// Whether the site's ports are free, or its own while it runs.
fn port_findings(config: &Config, runs: bool) -> Vec<Finding> {
    // A socket that whoever starts the site has opened is open whether it runs or not.
    let mut all: Vec<_> = config.listen.address().map(|address| ("LISTEN", address)).into_iter().collect();
    // Elsewhere machines come to the same listener as people.
    if config.cloud == CloudKind::Local {
        let port = config.callback_url().parse::<Origin>().map_or(8001, |origin| origin.port());
        all.push(("CALLBACK_URL", SocketAddr::new(IpAddr::V4(config.local_subnet.gateway()), port)));
    }
    all.extend(config.metrics_listen.map(|address| ("METRICS_LISTEN", address)));
    let [four, six] =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let listening: Vec<_> = listeners(&four).chain(listeners(&six)).collect();
    all.into_iter().map(|(setting, address)| port_finding(setting, address, &listening, runs)).collect()
}

fn port_finding(setting: &str, address: SocketAddr, listening: &[SocketAddr], runs: bool) -> Finding {
    let taken = listening.iter().any(|other| clashes(*other, address));
    match (taken, runs) {
        (true, true) => Finding::ok(format!("{setting}: the site listens on {address}")),
        (true, false) => Finding::bad(
            format!("{setting}: another program listens on {address}"),
            format!("end it (`ss -ltnp` names it), or choose another {setting}"),
        ),
        (false, true) => Finding::bad(
            format!("{setting}: the site runs, but does not listen on {address}"),
            "give this the settings that the site was started with; if they are, its log says why",
        ),
        (false, false) => Finding::ok(format!("{setting}: {address} is free")),
    }
}

/// Whether two listeners cannot be there at once.
fn clashes(other: SocketAddr, address: SocketAddr) -> bool {
    let same = other.ip() == address.ip();
    let any = other.ip().is_unspecified() || address.ip().is_unspecified();
    other.port() == address.port() && (same || any)
}

/// The addresses that are listened on, from a table of the kernel's.
/// <https://docs.kernel.org/networking/proc_net_tcp.html>
fn listeners(table: &str) -> impl Iterator<Item = SocketAddr> + '_ {
    const LISTENS: &str = "0A";
    table.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        let (address, port) = local.split_once(':').filter(|_| state == LISTENS)?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let bytes = hex::decode(address).ok()?;
        // Each word of four bytes is in the processor's own order.
        let words = bytes
            .chunks_exact(4)
            .flat_map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]).to_ne_bytes());
        let bytes: Vec<u8> = words.collect();
        let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
            Ok(four) => IpAddr::from(four),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?),
        };
        Some(SocketAddr::new(ip, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_read_off_the_kernels_tables() {
        let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listener = std::net::TcpListener::bind(here).unwrap();
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        assert!(listeners(&table).any(|address| address == here));
        drop(listener);
        let six = "sl local_address\n 0: 00000000000000000000000001000000:1F40 0:0 0A 0\n";
        assert_eq!(listeners(six).collect::<Vec<_>>(), ["[::1]:8000".parse().unwrap()]);
    }

    #[test]
    fn a_port_is_free_or_the_sites_own() {
        let address: SocketAddr = "10.213.0.1:8001".parse().unwrap();
        let gravity = |listening: &[&str], runs| {
            let listening: Vec<_> = listening.iter().map(|text| text.parse().unwrap()).collect();
            port_finding("CALLBACK_URL", address, &listening, runs).gravity
        };
        assert_eq!(gravity(&[], false), Gravity::Ok);
        assert_eq!(gravity(&["0.0.0.0:8001"], false), Gravity::Bad);
        assert_eq!(gravity(&["10.213.0.1:8001"], true), Gravity::Ok);
        assert_eq!(gravity(&["127.0.0.1:8001", "10.213.0.1:8002"], false), Gravity::Ok);
        assert_eq!(gravity(&[], true), Gravity::Bad);
    }
}
