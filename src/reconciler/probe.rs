//! Asks a project for its page from outside, as a visitor would.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reqwest::header::HOST;

use crate::domain::AddressRule;

/// How long a page may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A client that asks projects for their pages. It follows nothing and keeps no connection.
#[derive(Clone, Debug)]
pub struct Probe {
    client: reqwest::Client,
    map: Vec<AddressRule>,
}

impl Probe {
    /// Makes the client. Addresses that `map` names are asked for elsewhere, with the same `Host`.
    ///
    /// # Errors
    /// Where the host cannot open connections at all.
    pub fn new(map: Vec<AddressRule>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Self { client, map })
    }

    /// Whether `http://ip/` answers with a page a visitor may see: below 500, and not 400, which is
    /// what Django answers to a Host it does not know.
    pub async fn answers(&self, ip: IpAddr) -> bool {
        let rule = self.map.iter().find(|rule| rule.from.is_none_or(|from| from == ip));
        let asked = rule.map_or(SocketAddr::new(ip, 80), |rule| rule.to);
        let host = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        match self.client.get(format!("http://{asked}/")).header(HOST, host).send().await {
            Ok(answer) => answer.status().as_u16() < 500 && answer.status().as_u16() != 400,
            Err(_) => false,
        }
    }
}
