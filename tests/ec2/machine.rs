//! The machine's end, by the log protocol alone: what its user data says, reported as its scripts do.

use std::io::Read;

use base64::{Engine, engine::general_purpose::STANDARD};
use ec_django_deployer::domain::Step;
use flate2::read::GzDecoder;
use reqwest::{Client, StatusCode};

use crate::account::Account;

/// A machine that has read its user data.
pub struct Machine {
    /// The script that it was given.
    pub script: String,
    log: String,
    client: Client,
    size: usize,
}

impl Machine {
    pub async fn boot(account: &Account, id: &str) -> Self {
        Self::with(Self::read(account, id).await)
    }

    /// The user data of a machine as cloud-init reads it.
    pub async fn read(account: &Account, id: &str) -> String {
        let data = account.user_data(id).await;
        let mut script = String::new();
        if data.starts_with(&[0x1f, 0x8b]) {
            GzDecoder::new(&*data).read_to_string(&mut script).unwrap();
        } else {
            script = String::from_utf8(data).unwrap();
        }
        script
    }

    /// A machine that Systems Manager has given a command, with its script packed in it.
    pub fn sent(command: &str) -> Self {
        let packed = command.lines().filter_map(|line| STANDARD.decode(line).ok()).max_by_key(Vec::len);
        let mut script = String::new();
        GzDecoder::new(&*packed.unwrap()).read_to_string(&mut script).unwrap();
        Self::with(script)
    }

    fn with(script: String) -> Self {
        assert!(script.starts_with("#!/bin/bash\n"), "{script}");
        let log = format!(
            "{}/deployments/{}/log",
            value(&script, "EC_CALLBACK_URL"),
            value(&script, "EC_DEPLOYMENT")
        );
        Self { script, log, client: Client::builder().no_proxy().build().unwrap(), size: 0 }
    }

    /// A value that the script begins with.
    pub fn value(&self, name: &str) -> String {
        value(&self.script, name)
    }

    /// Appends to the log.
    pub async fn say(&mut self, text: &str) {
        let token = self.value("EC_TOKEN");
        let request = self.client.patch(&self.log).header("authorization", format!("Bearer {token}"));
        let request = request.header("upload-offset", self.size).body(text.to_owned());
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NO_CONTENT);
        self.size += text.len();
    }

    /// Deploys: every step, and done.
    pub async fn deploy(&mut self) {
        for step in Step::ALL {
            let name = step.name();
            self.say(&format!("::ec step {name} start\n{name} says this\n::ec step {name} ok 0.10\n")).await;
        }
        self.say("::ec done\n").await;
    }
}

/// The value of an assignment `NAME='value'` without quotes in it.
fn value(script: &str, name: &str) -> String {
    let line = script.lines().find_map(|line| line.strip_prefix(&format!("{name}='")));
    line.and_then(|rest| rest.strip_suffix('\'')).unwrap_or_else(|| panic!("no {name}")).to_owned()
}
