//! The program: for now, the holder of a machine's terminal.

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use clap::Parser;

#[derive(Parser)]
enum Command {
    /// Holds a machine's terminal.
    #[command(hide = true)]
    HoldConsole {
        #[arg(long)]
        log: PathBuf,
        #[arg(long)]
        max: u64,
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let Command::HoldConsole { log, max, command } = Command::parse();
    match ec_django_deployer::console::hold(&log, max, &command) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
