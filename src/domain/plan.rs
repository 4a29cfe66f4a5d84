//! The plan: what preflight found in a commit, which is how it will be deployed.

use serde::{Deserialize, Serialize};

use super::{Branch, CommitId, ProjectName};

/// How one commit is to be deployed. Stored with its deployment, shown to the owner, handed to the
/// script: what was checked is what is deployed, to the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The commit that was looked at.
    pub commit: CommitId,
    /// The first line of its message, at most 100 characters.
    pub subject: String,
    /// The branch it was the tip of.
    pub branch: Branch,
    /// The directory that holds `manage.py`.
    pub project: ProjectName,
    /// The settings module, dotted: `config.settings`.
    pub settings: String,
    /// The file that named it, from the repository's root.
    pub settings_from: String,
    /// The WSGI module, dotted: `config.wsgi`; none where the project has no `wsgi.py`, and Django's own is used.
    pub wsgi: Option<String>,
    /// What the project needs to run.
    pub dependencies: Dependencies,
    /// The Django that is to be installed, as far as the files tell: `5.2`, `>=4.2,<5`.
    pub django: Option<String>,
    /// The database that the settings name.
    pub database: Database,
    /// Migration files committed, over all of the project's apps.
    pub migrations: u32,
    /// What the owner should know, a sentence each.
    pub warnings: Vec<String>,
}

/// Where the list of what the project needs comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Dependencies {
    /// A requirements file.
    Requirements {
        /// Its path from the repository's root.
        path: String,
        /// How many packages it names.
        packages: u32,
        /// How its text is written.
        encoding: Encoding,
        /// Whether it names Django.
        names_django: bool,
    },
    /// Nothing is declared: Django alone.
    None,
}

/// How a text file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8, with or without a byte-order mark.
    #[serde(rename = "UTF-8")]
    Utf8,
    /// UTF-16, as PowerShell writes it.
    #[serde(rename = "UTF-16")]
    Utf16,
}

impl Encoding {
    /// The encoding's usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16 => "UTF-16",
        }
    }
}

/// The database that a project's settings name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    /// SQLite, kept on the instance between deployments.
    Sqlite,
    /// PostgreSQL.
    Postgresql,
    /// MySQL or MariaDB.
    Mysql,
    /// The settings compute it, or name another.
    Unknown,
}

impl Plan {
    /// The requirements file's path from the repository's root, where there is one.
    pub fn requirements(&self) -> Option<&str> {
        match &self.dependencies {
            Dependencies::Requirements { path, .. } => Some(path),
            Dependencies::None => None,
        }
    }
}
