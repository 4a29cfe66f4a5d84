//! The `user` subcommands: people without the site.

use std::io::BufRead;

use clap::Subcommand;
use ec_django_deployer::{
    config::Config,
    domain::{NameError, Role, Username},
    serve::{ServeError, open_store},
    store::{PersonError, StoreError, UserError},
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
    /// Keep a person from signing in; their sessions end, their instances go on.
    Disable {
        /// The name they sign in by.
        username: Username,
    },
    /// Let a person sign in again, by the password they had.
    Enable {
        /// The name they sign in by.
        username: Username,
    },
    /// Give a person a new password; their sessions end. Who is disabled stays so.
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
    #[error("{0} was left as they are: {1}")]
    Person(Username, PersonError),
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
    let open = || open_store(&config);
    let store = match command {
        UserCommand::Add { username, admin, password_stdin } => {
            // Before the store is opened: while somebody types, a restore may put another in its place.
            let hash = read_password(password_stdin)?;
            let store = open().await?;
            let role = if admin { Role::Admin } else { Role::Owner };
            let user = store.add_user(&username, &hash, role).await?;
            println!("{} can sign in, as {}", user.username, user.role.name());
            store
        }
        UserCommand::List => {
            let store = open().await?;
            for user in store.users().await? {
                let disabled = user.disabled_at.map(|time| format!("\tdisabled since {}", time.date()));
                println!(
                    "{}\t{}\tsince {}{}",
                    user.username,
                    user.role.name(),
                    user.created_at.date(),
                    disabled.unwrap_or_default()
                );
            }
            store
        }
        UserCommand::Disable { username } => {
            let store = open().await?;
            match store.disable(&username).await {
                Ok(true) => {
                    println!("{username} cannot sign in any more, and every session of theirs has ended");
                }
                Ok(false) => println!("{username} was disabled already"),
                Err(error) => return Err(refused(username, error)),
            }
            store
        }
        UserCommand::Enable { username } => {
            let store = open().await?;
            match store.enable(&username).await {
                Ok(true) => println!("{username} can sign in again"),
                Ok(false) => println!("{username} was not disabled"),
                Err(error) => return Err(refused(username, error)),
            }
            store
        }
        UserCommand::Passwd { username, password_stdin } => {
            let hash = read_password(password_stdin)?;
            let store = open().await?;
            if !store.set_password(&username, &hash).await? {
                return Err(UserCommandError::Nobody(username));
            }
            println!("{username} has a new password, and every session of theirs has ended");
            store
        }
    };
    store.close().await;
    Ok(())
}

fn refused(username: Username, error: PersonError) -> UserCommandError {
    match error {
        PersonError::Nobody => UserCommandError::Nobody(username),
        error => UserCommandError::Person(username, error),
    }
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
