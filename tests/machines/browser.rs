//! A real browser: Chromium signs in, deploys the sample and follows the link.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::site::Site;

/// A chromedriver of this test's own, ended with it.
struct Driver(Child, u16);

impl Driver {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, which scripts/setup.sh test installs");
        Self(child, port)
    }

    async fn browser(&self) -> Client {
        let flags = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1280,1200",
        ]});
        let capabilities = serde_json::Map::from_iter([("goog:chromeOptions".to_owned(), flags)]);
        for _ in 0..50 {
            let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
            builder.capabilities(capabilities.clone());
            if let Ok(client) = builder.connect(&format!("http://127.0.0.1:{}", self.1)).await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("chromedriver does not answer");
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_deploys_the_sample_and_follows_the_link() {
    let (site, _mira) = Site::start("browser").await;
    let driver = Driver::start();
    let browser = driver.browser().await;
    let journey = deploy_by_hand(&browser, &site).await;
    let shot = browser.screenshot().await;
    browser.close().await.unwrap();
    if let Err(error) = journey {
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/browser.png");
        let _ = shot.map(|png| std::fs::write(path, png));
        panic!("{error}; the page it happened on is {path}");
    }
}

async fn deploy_by_hand(browser: &Client, site: &Site) -> Result<(), fantoccini::error::CmdError> {
    browser.goto(&format!("{}/", site.url)).await?;
    browser.find(Locator::Id("username")).await?.send_keys("mira").await?;
    browser.find(Locator::Id("password")).await?.send_keys("correct horse battery").await?;
    browser.find(Locator::Css("button.main")).await?.click().await?;
    browser
        .wait()
        .at_most(Duration::from_secs(20))
        .for_element(Locator::LinkText("Try the sample"))
        .await?
        .click()
        .await?;
    browser.wait().for_element(Locator::XPath("//button[normalize-space()='Deploy']")).await?.click().await?;
    // From here on nothing is clicked or reloaded by hand: the page follows the deployment by itself.
    let wait = || browser.wait().at_most(Duration::from_secs(180));
    wait().for_element(Locator::Css("#status[data-status=deploying]")).await?;
    wait().for_element(Locator::Css("#steps li[data-state=done]")).await?;
    wait().for_element(Locator::Css("#status[data-status=live]")).await?;
    let link = wait().for_element(Locator::Id("url")).await?;
    let address = link.text().await?;
    link.click().await?;
    wait().for_url(&address.parse().expect("an address")).await?;
    let heading = browser.find(Locator::Css("h1")).await?.text().await?;
    assert_eq!(heading.to_lowercase(), "guestbook");
    Ok(())
}
