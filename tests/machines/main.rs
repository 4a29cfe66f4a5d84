//! The main job on real machines: the program itself, machines on this host, driven over HTTP as a
//! browser's forms are. They need root, and the packages that `scripts/setup.sh test` installs.
//!
//! Every test has a state directory, a bridge and a network of its own, and removes them whatever
//! happens. Only the base and the golden image, which take minutes to make, are kept for the next run, in
//! `EC_TEST_STATE` or else in `/var/tmp/ec-deployer-tests`.

mod browser;
mod crash;
mod doctor;
#[allow(dead_code, reason = "the sweep of pages uses the rest")]
#[path = "../browser/driver.rs"]
mod driver;
mod failures;
mod fetch;
mod host;
mod images;
#[allow(dead_code, reason = "the sweep of pages uses the rest")]
#[path = "../browser/keyboard.rs"]
mod keyboard;
mod local_cloud;
mod metadata;
mod owners;
mod person;
mod projects;
mod repository;
mod sample;
mod site;
mod switch;
mod terminate;
mod trace;
