//! The program: reads its configuration and runs what was asked for.

mod users;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use ec_django_deployer::{
    config::Config,
    console, doctor,
    logging::{self, LogFormat},
    serve,
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
