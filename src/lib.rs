//! EC Django Deployer: puts a Django project on a server of its own from two inputs, the
//! repository's URL and the project's name.
//!
//! A web half turns forms into rows and rows into pages; a reconciler half turns rows into
//! machines. They never call each other: they meet at the store.

pub mod cloud;
pub mod config;
pub mod console;
pub mod doctor;
pub mod domain;
pub mod keys;
pub mod logging;
pub mod metrics;
pub mod preflight;
pub mod process;
pub mod reconciler;
pub mod samples;
pub mod serve;
pub mod spool;
pub mod store;
pub mod user_data;
pub mod web;

/// The program's version, and after `+` the beginning of the commit that it was built from, where the build was told.
pub const VERSION: &str = env!("EC_VERSION");
