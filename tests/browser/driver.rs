//! A chromedriver of a test's own, the Chromium that it drives, and what of it WebDriver alone does not reach.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, error::CmdError, wd::WebDriverCompatibleCommand};
use reqwest::Method;
use serde_json::{Value, json};

/// A chromedriver of this test's own, ended with it.
pub struct Driver(Child, u16);

impl Driver {
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, which scripts/setup.sh test installs");
        Self(child, port)
    }

    /// A Chromium without a window; its console is kept for [`console`].
    pub async fn browser(&self) -> Client {
        let flags = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--window-size=1280,1200",
        ]});
        let capabilities = serde_json::Map::from_iter([
            ("goog:chromeOptions".to_owned(), flags),
            ("goog:loggingPrefs".to_owned(), json!({"browser": "ALL"})),
        ]);
        for _ in 0..100 {
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

/// A command of chromedriver's own.
#[derive(Debug)]
struct Own(&'static str, Value);

impl WebDriverCompatibleCommand for Own {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.0))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.1.to_string()))
    }
}

/// Runs a command of the browser's own protocol for developers.
pub async fn devtools(browser: &Client, command: &str, parameters: Value) -> Result<Value, CmdError> {
    browser.issue_cmd(Own("goog/cdp/execute", json!({"cmd": command, "params": parameters}))).await
}

/// What was written to the console since it was asked for last: level and message.
pub async fn console(browser: &Client) -> Result<Vec<(String, String)>, CmdError> {
    let entries = browser.issue_cmd(Own("se/log", json!({"type": "browser"}))).await?;
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let entries = entries.as_array().cloned().unwrap_or_default();
    Ok(entries.iter().map(|entry| (text(entry, "level"), text(entry, "message"))).collect())
}
