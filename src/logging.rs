//! What is logged, and how: to standard error, for people or for programs.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object of JSON in each line, for programs.
    Json,
}

/// Begins to log what `RUST_LOG` asks for, by default `info`.
pub fn init(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => log.with_ansi(stderr().is_terminal()).init(),
        // The span with the request's id is the current one; there is never another around it that matters.
        LogFormat::Json => {
            log.json().flatten_event(true).with_span_list(true).with_current_span(false).init()
        }
    }
}
