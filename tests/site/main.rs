//! The site's tests: one binary, each test with its own directories and ports.

mod git_host;
mod preflight;
mod samples;
