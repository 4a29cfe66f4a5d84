//! Asks a project for its page from outside, as a visitor would.

use std::{net::IpAddr, time::Duration};

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client that asks projects for their pages. It follows nothing and keeps no connection.
#[derive(Clone, Debug)]
pub struct Probe(reqwest::Client);

impl Probe {
    /// Makes the client.
    ///
    /// # Errors
    /// Where the host cannot open connections at all.
    pub fn new() -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Self(client))
    }

    /// Whether `http://ip/` answers with a page a visitor may see: below 500, and not 400, which is
    /// what Django answers to a Host it does not know.
    pub async fn answers(&self, ip: IpAddr) -> bool {
        let url = match ip {
            IpAddr::V4(ip) => format!("http://{ip}/"),
            IpAddr::V6(ip) => format!("http://[{ip}]/"),
        };
        match self.0.get(url).send().await {
            Ok(answer) => answer.status().as_u16() < 500 && answer.status().as_u16() != 400,
            Err(_) => false,
        }
    }
}
