//! The notice of a site that people reach over plain http.

use std::net::IpAddr;

use askama::Template;
use url::{Host, Url};

use super::{Site, auth::Visit};

/// What an admin should know of how the site is reached.
#[derive(Template)]
#[template(path = "parts/plain_http.html")]
pub struct PlainHttpNotice {
    /// The name that the site is to have.
    domain: Option<String>,
}

impl PlainHttpNotice {
    /// The notice, where whoever visits is an admin and the site is served to others without TLS.
    pub fn of(visit: &Visit) -> Option<Self> {
        (visit.user.is_admin() && is_open(&visit.site)).then(|| {
            let domain = visit.site.settings.site_domain.clone();
            Self { domain }
        })
    }
}

/// Whether what people type goes over networks of others as it is.
fn is_open(site: &Site) -> bool {
    Url::parse(&site.settings.public_url).is_ok_and(|url| {
        let here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(Host::Ipv4(ip)) => IpAddr::from(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            None => true,
        };
        url.scheme() == "http" && !here
    })
}
