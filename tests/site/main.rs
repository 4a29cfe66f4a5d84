//! The site as people and machines meet it: the real router on a port of its own, over a database of its own.

mod doctor;
mod events;
mod forms;
mod git_host;
mod headers;
mod health;
mod helpers;
mod hostile;
mod instances;
mod log_protocol;
mod logs;
mod metrics;
mod preflight;
mod program;
mod readiness;
mod samples;
mod sign_in;
