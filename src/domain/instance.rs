//! The record of one server and the project on it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    Branch, Database, Failure, MachineType, NameError, ProjectName, RepoUrl, ServerName, Status, Timestamp,
    UserId, Username, Wanted,
};

/// An instance's row in the store. People and URLs know it by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// The cloud's id of a machine: `i-` and 8 to 17 hexadecimal digits.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/resource-ids.html>
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let good = text.strip_prefix("i-").is_some_and(|hex| {
            (8..=17).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        if good { Ok(Self(text.to_owned())) } else { Err(NameError::new("this is not an instance id")) }
    }
}

impl TryFrom<String> for InstanceId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far a reboot has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reboot {
    /// It is asked for.
    Asked,
    /// The cloud was asked for it then.
    Sent(Timestamp),
}

/// The record of one server and the project on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its row.
    pub row: RowId,
    /// Its name, unique on this site.
    pub name: ServerName,
    /// Whose it is.
    pub owner: UserId,
    /// The owner's name.
    pub owner_name: Username,
    /// The repository.
    pub repo: RepoUrl,
    /// The directory that holds `manage.py`.
    pub project: ProjectName,
    /// The branch, where one was asked for; else the repository's default.
    pub branch: Option<Branch>,
    /// What its owner says of it; may be empty.
    pub description: String,
    /// What its owner wants of it.
    pub wanted: Wanted,
    /// Whether the reconciler has not brought about yet what was wanted last.
    pub pending: bool,
    /// How far a reboot has come that its owner asked for.
    pub reboot: Option<Reboot>,
    /// Where it is in its life.
    pub status: Status,
    /// Since when.
    pub status_since: Timestamp,
    /// The machine, once its id is known and until it is gone.
    pub instance_id: Option<InstanceId>,
    /// The machine's public IP, while it has one.
    pub public_ip: Option<std::net::IpAddr>,
    /// The type of machine that its owner chose; none takes the site's default.
    pub machine_type: Option<MachineType>,
    /// The database that its owner chose; none leaves it as the project says.
    pub database: Option<Database>,
    /// The golden image the machine booted from.
    pub image: Option<super::ImageId>,
    /// Why it is `failed`.
    pub failure: Option<Failure>,
    /// What its owner should know though it is live: one sentence.
    pub notice: Option<String>,
    /// When its form was accepted first.
    pub created_at: Timestamp,
    /// When anything of it changed last.
    pub updated_at: Timestamp,
}

impl Instance {
    /// A short digest of what its form holds: another one means that somebody saved another form.
    pub fn version(&self) -> String {
        let branch = self.branch.as_ref().map_or("", Branch::as_str);
        let machine_type = self.machine_type.as_ref().map_or("", MachineType::as_str);
        let database = self.database.map_or("", Database::name);
        let form =
            [self.repo.as_str(), self.project.as_str(), branch, &self.description, machine_type, database];
        hex::encode(&Sha256::digest(form.join("\n"))[..8])
    }

    /// Whether it is being terminated, or is to be.
    pub fn is_leaving(&self) -> bool {
        self.status == Status::Terminating
            || (self.wanted == Wanted::Absent && self.status != Status::Terminated)
    }

    /// Whether it has a machine at rest that can be stopped.
    pub fn can_stop(&self) -> bool {
        let has_machine = match self.status {
            Status::Live => true,
            Status::Failed => self.instance_id.is_some(),
            _ => false,
        };
        has_machine && !self.is_leaving() && !self.is_to_stop()
    }

    /// Whether its machine can be rebooted.
    pub fn can_reboot(&self) -> bool {
        self.status == Status::Live && self.can_stop() && self.reboot.is_none()
    }

    /// Whether it is stopped and can be started.
    pub fn can_start(&self) -> bool {
        self.status == Status::Stopped && !self.is_leaving() && !self.is_to_start()
    }

    /// Whether it is to be stopped, and that has not begun.
    pub fn is_to_stop(&self) -> bool {
        self.wanted == Wanted::Stopped
            && self.pending
            && !matches!(self.status, Status::Stopping | Status::Stopped | Status::Terminated)
    }

    /// Whether it is stopped or being stopped, and to be started, which has not begun.
    pub fn is_to_start(&self) -> bool {
        self.wanted == Wanted::Present && self.pending && self.status.is_off()
    }

    /// The address of the project, while there is a public IP.
    pub fn url(&self) -> Option<String> {
        self.public_ip.map(|ip| match ip {
            std::net::IpAddr::V4(ip) => format!("http://{ip}/"),
            std::net::IpAddr::V6(ip) => format!("http://[{ip}]/"),
        })
    }
}
