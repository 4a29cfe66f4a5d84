//! The `user` subcommands: people without the site.

use std::io::BufRead;

use clap::Subcommand;
use ec_django_deployer::{
    config::Config,
    domain::{NameError, Role, Username},
    serve::{ServeError, open_store},
    store::{StoreError, UserError},
    web,
};

#[derive(Subcommand)]
pub enum UserCommand {
    /// Add a person; the password is asked for.
    Add {
        /// The name they sign in by.
        username: Username,
        /// They see everyone's instances and manage users and images.
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input's first line.
        #[arg(long)]
        password_stdin: bool,
    },
    /// List everybody.
    List,
    /// Give a person a new password; their sessions end.
    Passwd {
        /// The name they sign in by.
        username: Username,
        /// Read the password from standard input's first line.
        #[arg(long)]
        password_stdin: bool,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum UserCommandError {
    #[error(transparent)]
    Open(#[from] ServeError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error("{0}")]
    Password(#[from] NameError),
    #[error("the two passwords differ")]
    Differ,
    #[error("nobody is called {0}")]
    Nobody(Username),
    #[error("the password could not be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

pub async fn run(config: Config, command: UserCommand) -> Result<(), UserCommandError> {
    let store = open_store(&config).await?;
    match command {
        UserCommand::Add { username, admin, password_stdin } => {
            let hash = read_password(password_stdin)?;
            let role = if admin { Role::Admin } else { Role::Owner };
            let user = store.add_user(&username, &hash, role).await?;
            println!("{} can sign in, as {}", user.username, user.role.name());
        }
        UserCommand::List => {
            for user in store.users().await? {
                println!("{}\t{}\tsince {}", user.username, user.role.name(), user.created_at.date());
            }
        }
        UserCommand::Passwd { username, password_stdin } => {
            let hash = read_password(password_stdin)?;
            if !store.set_password(&username, &hash).await? {
                return Err(UserCommandError::Nobody(username));
            }
            println!("{username} has a new password, and every session of theirs has ended");
        }
    }
    store.close().await;
    Ok(())
}

/// Reads a new password and gives its hash. At a terminal it is asked for twice and not shown.
fn read_password(from_stdin: bool) -> Result<String, UserCommandError> {
    let password = if from_stdin {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        let first = rpassword::prompt_password("Password: ")?;
        if first != rpassword::prompt_password("Again: ")? {
            return Err(UserCommandError::Differ);
        }
        first
    };
    web::check_password_rules(&password)?;
    web::hash_password(&password).map_err(|error| UserCommandError::Hash(error.to_string()))
}
