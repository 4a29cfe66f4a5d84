//! The notice of a cloud that cannot launch machines: why, and what becomes of instances meanwhile.

use askama::Template;

use super::Site;
use crate::domain::Readiness;

/// The notice of a cloud that cannot launch machines.
#[derive(Template)]
#[template(path = "parts/readiness.html")]
pub struct ReadinessNotice {
    reason: String,
    /// Whether the cloud is this host, of which the program itself says more.
    local: bool,
}

impl ReadinessNotice {
    /// The notice, where no machines can be launched now.
    pub fn of(site: &Site) -> Option<Self> {
        match site.store.readiness() {
            Readiness::Ready => None,
            Readiness::NotReady(reason) => Some(Self { reason, local: site.settings.cloud == "local" }),
        }
    }
}

/// The way to the sample, or why there is none now.
#[derive(Template)]
#[template(path = "parts/sample.html")]
pub struct SampleWay {
    served: bool,
}

impl SampleWay {
    /// The way as it is now: machines fetch the sample from where they report, which is not there on a cloud that
    /// cannot launch them.
    pub fn of(site: &Site) -> Self {
        Self { served: site.settings.serves_samples() }
    }
}
