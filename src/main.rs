//! The program: reads its configuration and runs what was asked for.

mod users;

use std::{ffi::OsString, num::NonZeroUsize, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use ec_django_deployer::{
    backup::{self, Destination, Source},
    config::Config,
    console, doctor,
    logging::{self, LogFormat},
    rotation, serve,
};

/// Puts a Django project on a server of its own from two inputs.
#[derive(Parser)]
#[command(name = "ec-deployer", version = ec_django_deployer::VERSION, about)]
struct Arguments {
    /// How the log is written to standard error.
    #[arg(long, env = "LOG_FORMAT", global = true, default_value = "text")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the site.
    Serve(#[command(flatten)] Config),
    /// Add people, list them, disable them, give them a new password.
    User {
        #[command(flatten)]
        config: Config,
        #[command(subcommand)]
        command: users::UserCommand,
    },
    /// Say whether this host can run the site and its machines, and what to do where it cannot.
    Doctor(#[command(flatten)] Config),
    /// Bake a golden image now.
    Bake(#[command(flatten)] Config),
    /// Copy the database and the keys into one file, also while the site runs.
    Backup {
        #[command(flatten)]
        config: Config,
        /// A file, a directory, or s3://bucket/prefix/; in a directory, and below a prefix, it names itself.
        destination: Destination,
        /// Keep so many there that have named themselves, and remove the older ones.
        #[arg(long, value_name = "N")]
        keep: Option<NonZeroUsize>,
    },
    /// Put a backup in the place of what is there, which is kept aside. No site may run.
    Restore {
        #[command(flatten)]
        config: Config,
        /// A file, or s3://bucket/key.
        source: Source,
    },
    /// Make the keys of variables and of machines' tokens anew. No site may run.
    RotateKeys {
        #[command(flatten)]
        config: Config,
        /// Also while deployments are under way, whose machines then cannot report any more.
        #[arg(long)]
        force: bool,
    },
    /// Print the settings below a path of AWS's Parameter Store, decrypted, as lines of NAME=value.
    #[cfg(feature = "ec2")]
    Parameters {
        /// The path: /ec-deployer/site/
        path: String,
    },
    /// Hold a local machine's terminal; the site starts this itself.
    #[command(hide = true)]
    HoldConsole {
        /// Where the console's end is kept.
        #[arg(long)]
        log: PathBuf,
        /// Most bytes of it.
        #[arg(long)]
        max: u64,
        /// The command whose terminal it is.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    logging::init(arguments.log_format);
    let result = match arguments.command {
        Command::HoldConsole { log, max, command } => {
            return match console::hold(&log, max, &command) {
                Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
                Err(error) => fail(&error),
            };
        }
        Command::Doctor(config) => {
            run(doctor::doctor(config)).map(|well| if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Serve(config) => run(serve::serve(config)).map(done),
        Command::Bake(config) => run(serve::bake(config)).map(done),
        Command::Backup { config, destination, keep } => {
            run(backup::backup(config, destination, keep)).map(done)
        }
        Command::Restore { config, source } => run(backup::restore(config, source)).map(done),
        #[cfg(feature = "ec2")]
        Command::Parameters { path } => run(ec_django_deployer::parameters::print(&path)).map(done),
        Command::RotateKeys { config, force } => run(rotation::rotate(config, force)).map(done),
        Command::User { config, command } => run(users::run(config, command)).map(done),
    };
    result.unwrap_or_else(|error| fail(error.as_ref()))
}

fn done((): ()) -> ExitCode {
    ExitCode::SUCCESS
}

fn run<T, E: std::error::Error + 'static>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(work)?)
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("ec-deployer: {error}");
    ExitCode::FAILURE
}
