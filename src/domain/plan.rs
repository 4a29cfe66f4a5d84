//! The plan: what preflight found in a commit, which is how it will be deployed.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Branch, CommitId, ProjectName, Timestamp};

/// How one commit is to be deployed. Stored with its deployment, shown to the owner, handed to the
/// script: what was checked is what is deployed, to the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The commit that was looked at.
    pub commit: CommitId,
    /// The first line of its message, at most 100 characters.
    pub subject: String,
    /// When it was committed: what was on the package index then is what the project was written for.
    #[serde(default)]
    pub committed: Option<Timestamp>,
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
    /// The Python to run it on; none where the golden image's is as good as any.
    #[serde(default)]
    pub python: Option<PythonWish>,
    /// What the project needs to run.
    pub dependencies: Dependencies,
    /// The Django that is to be installed, as far as the files tell: `5.2`, `>=4.2,<5`.
    pub django: Option<String>,
    /// The database that the settings name.
    pub database: Database,
    /// The database that the owner chose in its place.
    #[serde(default)]
    pub chosen_database: Option<Database>,
    /// The variables that the settings demand and have no default for.
    #[serde(default)]
    pub variables: Vec<Demanded>,
    /// Migration files committed, over all of the project's apps.
    pub migrations: u32,
    /// What the owner should know, a sentence each.
    pub warnings: Vec<String>,
}

/// The Python that a project is to run on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PythonWish {
    /// Series that will do, `3.12`, the best first. The machine takes the golden image's own where it is among them,
    /// and else installs the first that can be had.
    pub versions: Vec<String>,
    /// What says so: `.python-version`, `Django 2.2`.
    pub from: String,
}

/// A variable that the settings read and have no default for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demanded {
    /// Its name.
    pub name: String,
    /// The file that reads it, from the repository's root.
    pub file: String,
    /// The line in it, from 1.
    pub line: u32,
    /// What it gets where the owner gives it nothing.
    pub answer: Answer,
}

/// What a demanded variable gets where its owner gives it no value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Answer {
    /// A secret that the machine makes, and keeps between deployments.
    Secret,
    /// The machine's address, which is known only there.
    Address,
    /// A text whose meaning is beyond doubt: `False` for `DEBUG`.
    Text {
        /// The text.
        text: String,
    },
    /// A part of how the database on the machine is reached.
    Database {
        /// Which part.
        part: DatabasePart,
    },
    /// Nothing: the owner is asked for it before anything is launched.
    Asked {
        /// A value that would do, to begin with.
        offer: Option<String>,
        /// Whether it is hidden while it is typed.
        secret: bool,
    },
}

/// A part of how the database on the machine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabasePart {
    /// All of it as one URL.
    Url,
    /// The dotted name of Django's backend.
    Engine,
    /// The database's name; for SQLite the path of its file.
    Name,
    /// The user.
    User,
    /// The user's password.
    Password,
    /// The host.
    Host,
    /// The port.
    Port,
}

/// Where the list of what the project needs comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Dependencies {
    /// A requirements file, which the machine reads in its copy of the repository.
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
    /// A `uv.lock`, which the machine exports in its copy of the repository.
    Uv {
        /// Its path from the repository's root.
        path: String,
        /// How many packages it names.
        packages: u32,
    },
    /// Another file, read here: `pyproject.toml`, `poetry.lock`, `Pipfile`, `Pipfile.lock`.
    Listed {
        /// Its path from the repository's root.
        path: String,
        /// What it asks for, each as a line of a requirements file.
        list: Vec<String>,
        /// Whether it names Django.
        names_django: bool,
    },
    /// Nothing is declared: what the project imports, each as a line of a requirements file, Django among them.
    Inferred {
        /// The lines.
        list: Vec<String>,
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
            _ => None,
        }
    }

    /// What is to be installed, each as a line of a requirements file, where the site and not the machine has read it.
    pub fn list(&self) -> Option<&[String]> {
        match &self.dependencies {
            Dependencies::Listed { list, .. } | Dependencies::Inferred { list } => Some(list),
            Dependencies::Requirements { .. } | Dependencies::Uv { .. } | Dependencies::None => None,
        }
    }
}

impl Database {
    /// The database in forms, in the database and on machines; empty where it is not known.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgresql => "postgresql",
            Self::Mysql => "mysql",
            Self::Unknown => "",
        }
    }
}

/// The text names no database.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no database is called {0:?}")]
pub struct UnknownDatabase(String);

impl FromStr for Database {
    type Err = UnknownDatabase;

    fn from_str(text: &str) -> Result<Self, UnknownDatabase> {
        [Self::Sqlite, Self::Postgresql, Self::Mysql]
            .into_iter()
            .find(|database| database.name() == text)
            .ok_or_else(|| UnknownDatabase(text.to_owned()))
    }
}

impl DatabasePart {
    /// The part as the machine calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::Engine => "engine",
            Self::Name => "name",
            Self::User => "user",
            Self::Password => "password",
            Self::Host => "host",
            Self::Port => "port",
        }
    }
}
