//! Every page in a real browser, wide and narrow, light and dark, with and without JavaScript. It needs no
//! root, and what `scripts/setup.sh test` installs: Chromium, its driver, and axe-core.

mod driver;
#[allow(dead_code, reason = "the site's own tests use the rest")]
#[path = "../site/helpers.rs"]
mod helpers;
#[allow(dead_code, reason = "the test on real machines uses the rest")]
mod keyboard;
mod pages;
#[allow(dead_code, reason = "the site's own tests use the rest")]
#[path = "../site/routes.rs"]
mod routes;
mod sweep;
mod updates;
mod world;
