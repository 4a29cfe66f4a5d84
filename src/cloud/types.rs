//! What is told to a cloud, and what it tells.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{DeploymentId, FetchId, ImageId, InstanceId, MachineType, ServerName};

/// The complete request for a machine, saved before the call, so that a retry after a crash sends
/// identical bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchRequest {
    /// The launch token: at most 64 ASCII characters, random. The same token is the same machine.
    pub token: String,
    /// The site's random id.
    pub site: String,
    /// The instance's name.
    pub instance: ServerName,
    /// The cloud's name of the golden image.
    pub image: String,
    /// The user data's bytes, base64 in the saved form.
    #[serde(with = "base64_bytes")]
    pub user_data: Vec<u8>,
    /// On what and where the machine is to run, in a cloud that wants it told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

/// On what and where a machine is to run. Part of the saved request: a repetition of it says the same, whatever the
/// settings have become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The type of machine.
    pub machine_type: MachineType,
    /// The subnet's id, always told: a launch token is bound to its zone.
    pub subnet: String,
    /// The ids of security groups; none leaves them to the launch template or to the network's default.
    pub security_groups: Vec<String>,
    /// Whether the request describes the network interface itself, with a public IP; beside a launch template that
    /// has security groups it may not.
    pub own_interface: bool,
    /// The name of the instance profile.
    pub instance_profile: Option<String>,
    /// The name of the key pair for SSH.
    pub key_pair: Option<String>,
    /// The id of a launch template, and the number of its version.
    pub launch_template: Option<(String, String)>,
    /// The name of the image's root device.
    pub root_device: String,
    /// The size of the machine's disk, in GiB.
    pub disk_gib: u16,
}

/// What a machine does, as its cloud sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// It was asked for and is not up yet.
    Pending,
    /// It runs; its user data may still be at work.
    Running,
    /// It was asked to stop.
    Stopping,
    /// It is stopped; its disk is kept.
    Stopped,
    /// It is going away.
    Terminating,
    /// It is gone, and still listed.
    Terminated,
}

/// What a script is started for. It names the script on the machine: `deploy-12`, `fetch-7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// A deployment.
    Deploy(DeploymentId),
    /// A fetch.
    Fetch(FetchId),
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deploy(id) => write!(f, "deploy-{id}"),
            Self::Fetch(id) => write!(f, "fetch-{id}"),
        }
    }
}

/// A running server of this site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The cloud's id.
    pub id: InstanceId,
    /// The launch token it was asked for with, from its tag; empty where the tag was taken away.
    pub token: String,
    /// The name of its instance, from its tag, while it has it.
    pub instance: Option<ServerName>,
    /// What it does.
    pub state: MachineState,
    /// Why the cloud ended it by itself, in the cloud's words.
    pub reason: Option<String>,
    /// Its public IP, while it has one.
    pub public_ip: Option<IpAddr>,
}

/// How to bake a golden image.
#[derive(Clone, Debug)]
pub struct BakeSpec {
    /// The image's number, unique on this site.
    pub image: ImageId,
    /// The whole image script.
    pub script: Vec<u8>,
}

/// A baked image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Baked {
    /// The cloud's name of it, for [`LaunchRequest::image`].
    pub cloud_ref: String,
    /// What it stands on, in words: `Debian GNU/Linux 12 (bookworm)`.
    pub base: String,
    /// Bytes that it takes on disk.
    pub size: u64,
}

/// An image that the settings give, so that none is baked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenImage {
    /// The cloud's name of it.
    pub cloud_ref: String,
    /// What it is called.
    pub base: String,
    /// Bytes that its disk has.
    pub size: u64,
}

/// A public IP that a machine keeps while it is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElasticIp {
    /// The cloud's id of it.
    pub id: String,
    /// The address.
    pub ip: IpAddr,
}

/// How often a cloud is asked what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// While something is changing.
    pub busy: Duration,
    /// While nothing has changed for long: the pause grows up to this.
    pub idle: Duration,
    /// At least so long between two listings.
    pub between: Duration,
}

/// Bytes as base64 text in JSON.
mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(D::Error::custom)
    }
}
