//! What is logged, and how: to standard error, for people or for programs.

use std::io::{IsTerminal, stderr};

use clap::ValueEnum;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// What writes down whole requests and answers below `info`, whatever `RUST_LOG` asks for: user data and
/// credentials are in them. The line of each request to AWS is our own.
const TALKATIVE: [&str; 3] = ["aws_", "h2", "hyper"];

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
    let filter = filter.and(filter_fn(tells_no_secret));
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).with_filter(filter).boxed(),
        // The span with the request's id is the current one; there is never another around it that matters.
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_span_list(true).with_current_span(false);
            lines.with_filter(filter).boxed()
        }
    };
    tracing_subscriber::registry().with(lines).init();
}

fn tells_no_secret(of: &Metadata<'_>) -> bool {
    *of.level() <= Level::INFO || !TALKATIVE.iter().any(|prefix| of.target().starts_with(prefix))
}
