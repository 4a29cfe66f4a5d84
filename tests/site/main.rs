//! The site as people and machines meet it: the real router on a port of its own, over a database of its own.

mod account;
mod doctor;
mod edit;
mod events;
mod forms;
mod git_host;
mod headers;
mod health;
mod helpers;
mod history;
mod hostile;
mod images;
mod instances;
mod log_protocol;
mod logging;
mod logs;
mod metrics;
mod money;
mod power;
mod preflight;
mod program;
mod readiness;
mod routes;
mod samples;
mod sign_in;
mod users;
