//! `CLOUD=ec2`: the program itself against moto, which answers as EC2 does, through a proxy of ours that does what
//! moto does not and what goes wrong. It needs no root and no account; `scripts/setup.sh test` installs moto.
//!
//! All tests share one moto; each world has an account there, a proxy, a site and a state directory of its own. No
//! test opens a connection to the public IPs that moto invents, which are other people's: sites are told to ask a
//! page server of the test instead.
//!
//! They mostly wait: `cargo test --test ec2 -- --test-threads=8`.

mod account;
mod admin;
mod at_once;
mod backups;
mod bake;
mod database;
mod doctor;
mod errors;
mod faults;
mod infra;
mod infra_aws;
mod infra_up;
mod killed;
mod lifecycle;
mod machine;
mod moto;
mod orphans;
mod parameters;
#[allow(dead_code, reason = "the tests on real machines use the rest")]
#[path = "../machines/person.rs"]
mod person;
mod proxy;
mod proxy_tests;
mod run;
mod secrets;
mod site;

/// Where tests on real machines note those that they boot: none boots here.
mod trace {
    pub fn booted(_: &str) {}
}
