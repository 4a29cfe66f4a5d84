//! The main job on real machines: the program itself, machines on this host, driven over HTTP as a
//! browser's forms are. They need root, and the packages that `scripts/setup.sh test` installs.
//!
//! Every test has a state directory, a bridge and a network of its own, and removes them whatever
//! happens. Only the base and the golden image, which take minutes to make, are kept for the next run, in
//! `EC_TEST_STATE` or else in `/var/tmp/ec-deployer-tests`.

#[cfg(feature = "ec2")]
#[allow(dead_code, reason = "the tests of EC2 use the rest")]
#[path = "../ec2/account.rs"]
mod account;
mod browser;
#[cfg(feature = "ec2")]
mod codebuild;
mod commands;
mod crash;
#[cfg(feature = "ec2")]
#[allow(dead_code, reason = "the tests of EC2 use the rest")]
#[path = "../ec2/database.rs"]
mod database;
mod databases;
mod dependencies;
mod doctor;
#[allow(dead_code, reason = "the sweep of pages uses the rest")]
#[path = "../browser/driver.rs"]
mod driver;
#[cfg(feature = "ec2")]
mod ec2;
#[cfg(feature = "ec2")]
#[allow(dead_code, reason = "the tests of EC2 use the rest")]
#[path = "../ec2/site.rs"]
mod ec2_site;
mod environment;
mod failures;
mod fetch;
mod health;
mod host;
mod images;
#[allow(dead_code, reason = "the sweep of pages uses the rest")]
#[path = "../browser/keyboard.rs"]
mod keyboard;
mod kinds;
mod local_cloud;
mod metadata;
#[cfg(feature = "ec2")]
#[allow(dead_code, reason = "the tests of EC2 use the rest")]
#[path = "../ec2/moto.rs"]
mod moto;
mod overlay;
mod owners;
mod person;
mod projects;
#[cfg(feature = "ec2")]
#[allow(dead_code, reason = "the tests of EC2 use the rest")]
#[path = "../ec2/proxy/mod.rs"]
mod proxy;
mod releases;
mod repository;
mod sample;
mod site;
mod stand_in;
mod switch;
mod terminate;
mod trace;
