//! Tests on real machines of this host. They need root, and the packages that `scripts/run.sh` installs.
//!
//! Every test has a state directory, a bridge and a network of its own, and removes them whatever
//! happens. Only the base, which takes a minute to make, is kept for the next run, in `EC_TEST_STATE` or
//! else in `/var/tmp/ec-deployer-tests`.

mod host;
mod local_cloud;
