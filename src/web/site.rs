//! What every handler has at hand.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::auth::Throttle;
use super::{Offer, instances::Streams};
use crate::{
    domain::{GitHosts, LogKey, Plan},
    metrics::Metrics,
    preflight::{Finding, Preflight, Request},
    spool::Spool,
    store::Store,
};

/// What the web half is told of its configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The site's own address as browsers see it, without a slash at the end.
    pub public_url: String,
    /// Where machines reach the site, without a slash at the end.
    pub callback_url: String,
    /// The scheme, host and port that people's repositories may come from.
    pub git_hosts: GitHosts,
    /// Whether the samples are served at the callback URL, which is so once its listener is there.
    pub serves_samples: Arc<AtomicBool>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// The cloud's name, for the foot of every page.
    pub cloud: &'static str,
    /// The machines that can be chosen, of a cloud that has a choice of them.
    pub offer: Option<Offer>,
    /// Whether browsers reach the site over https: cookies are `Secure` then, and HSTS is sent.
    pub secure_cookies: bool,
    /// The domain name that the site is to have, which may have no certificate yet.
    pub site_domain: Option<String>,
    /// Where the files are that machines sent.
    pub spool: Spool,
    /// The name of the release that runs, where whoever started it gave one.
    pub release: Option<String>,
}

impl Settings {
    /// Whether machines need their golden image as long as they are there: one on this host stands on it, and one of
    /// EC2 has a disk of its own.
    pub(super) fn machines_need_images(&self) -> bool {
        self.cloud == "local"
    }

    /// Whether secrets can be sent to machines: on the way to EC2 others could read them, were it not over https, and
    /// machines of this host are reached over its own bridge.
    pub(super) fn sends_secrets(&self) -> bool {
        self.cloud == "local" || self.callback_url.starts_with("https://")
    }

    /// Whether the samples are served now.
    pub(super) fn serves_samples(&self) -> bool {
        self.serves_samples.load(Ordering::Relaxed)
    }

    /// Where repositories may come from now: the listed hosts, and the samples' where they are ours.
    pub(super) fn git_hosts(&self) -> GitHosts {
        let hosts = self.git_hosts.clone();
        if !self.serves_samples() {
            return hosts;
        }
        hosts.clone().with_own(&self.callback_url).unwrap_or(hosts)
    }
}

/// What a stand-in finds of a request.
pub type Finds = dyn Fn(&Request) -> Result<Plan, Vec<Finding>> + Send + Sync;

/// What looks at a repository before anything is launched.
#[derive(Clone)]
pub enum Looker {
    /// Over git, as the site does.
    Git(Preflight),
    /// A stand-in for tests that gives the same answer to the same request, after a while. No
    /// configuration chooses it.
    Fixed {
        /// How long a look takes.
        takes: Duration,
        /// What it finds.
        finds: Arc<Finds>,
    },
}

impl Looker {
    /// The plan of what was asked for, or what is to be fixed.
    pub(super) async fn plan(&self, request: &Request) -> Result<Plan, Vec<Finding>> {
        match self {
            Self::Git(preflight) => preflight.plan(request).await,
            Self::Fixed { takes, finds } => {
                tokio::time::sleep(*takes).await;
                finds(request)
            }
        }
    }
}

impl From<Preflight> for Looker {
    fn from(preflight: Preflight) -> Self {
        Self::Git(preflight)
    }
}

/// What every handler has at hand. Cheap to clone.
#[derive(Clone)]
pub struct Site(Arc<Inner>);

/// The parts of a [`Site`].
pub struct Inner {
    pub(super) store: Store,
    pub(super) looker: Looker,
    pub(super) log_key: LogKey,
    pub(super) settings: Settings,
    pub(super) shutdown: CancellationToken,
    pub(super) setup_token: String,
    pub(super) throttle: Throttle,
    pub(super) streams: Streams,
    pub(super) metrics: Metrics,
}

impl Site {
    /// Puts the parts together and makes this start's set-up link.
    pub fn new(
        store: Store,
        looker: impl Into<Looker>,
        log_key: LogKey,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            looker: looker.into(),
            log_key,
            settings,
            shutdown,
            setup_token: hex::encode(rand::random::<[u8; 24]>()),
            throttle: Throttle::default(),
            streams: Streams::default(),
            metrics: Metrics::new(),
        }))
    }

    /// What is counted of the site.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The link that creates the first admin. It is another at each start and works while there is no user.
    pub fn setup_link(&self) -> String {
        format!("{}/setup?token={}", self.settings.public_url, self.setup_token)
    }
}

impl std::ops::Deref for Site {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
