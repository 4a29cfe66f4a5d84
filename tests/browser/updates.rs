//! Live updates in a browser that keeps the pages it leaves.

use std::time::Duration;

use fantoccini::{Client, Locator};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    driver::{Driver, devtools},
    world::{As, Of, World},
};

/// Opens a page, at once.
async fn visit(browser: &Client, url: &str) {
    let arrives = timeout(Duration::from_secs(10), browser.goto(url)).await;
    arrives.unwrap_or_else(|_| panic!("{url} does not come")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_were_left_hold_nobody_up_and_go_on_when_they_are_gone_back_to() {
    let world = World::new().await;
    let place = world.place(Of::Busy);
    let (app, driver) = (&place.app, Driver::start());
    let browser = driver.browser().await;
    for (name, value) in place.cookies(As::Mira) {
        let cookie = json!({"name": name, "value": value, "url": app.url});
        devtools(&browser, "Network.setCookie", cookie).await.unwrap();
    }
    // More pages with a stream each than a browser has connections to one site.
    for name in ["requested", "launching", "booting", "live", "noticed", "queued", "starting", "leaving"] {
        visit(&browser, &format!("{}/instances/{name}", app.url)).await;
    }
    let deploying = format!("{}/instances/deploying", app.url);
    visit(&browser, &deploying).await;
    visit(&browser, &format!("{}/instances/new", app.url)).await;
    browser.back().await.unwrap();
    let (_, deployment) = app.ids("deploying").await;
    for words in ["said after going back", "and later still"] {
        app.log(deployment, &format!("{words}\n")).await;
        let said = format!("//pre[@id='log'][contains(., '{words}')]");
        browser.wait().at_most(Duration::from_secs(10)).for_element(Locator::XPath(&said)).await.unwrap();
    }
    browser.close().await.unwrap();
}
