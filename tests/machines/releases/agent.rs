//! CodeDeploy's agent, as far as `appspec.yml` can tell the difference: the events in their order, each hook with its
//! user, its timeout and CodeDeploy's environment, ApplicationStop from the bundle that was installed last, files copied
//! and given their owners and modes.
//! <https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html>

use std::{fmt, process::Command};

use serde::Deserialize;

use super::server::Server;

/// Where the agent keeps the bundles of its deployments.
const DEPLOYMENTS: &str = "/opt/codedeploy-agent/deployment-root/group";

/// Where the agent notes what it has installed.
const CLEANUP: &str = "/opt/codedeploy-agent/cleanup";

/// An `appspec.yml`. What it says besides, nobody has looked at here: it is an error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    #[allow(dead_code, reason = "it must be there")]
    version: f64,
    os: String,
    files: Vec<File>,
    file_exists_behavior: String,
    #[serde(default)]
    permissions: Vec<Permission>,
    hooks: Hooks,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: String,
    destination: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Permission {
    object: String,
    #[serde(default = "everything")]
    pattern: String,
    #[serde(default)]
    except: Vec<String>,
    owner: String,
    group: String,
    mode: String,
    #[serde(rename = "type")]
    kinds: Vec<String>,
}

fn everything() -> String {
    "**".to_owned()
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Hooks {
    application_stop: Vec<Hook>,
    before_install: Vec<Hook>,
    after_install: Vec<Hook>,
    application_start: Vec<Hook>,
    validate_service: Vec<Hook>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hook {
    location: String,
    timeout: u32,
    runas: String,
}

/// An event of a deployment that has hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    ApplicationStop,
    BeforeInstall,
    AfterInstall,
    ApplicationStart,
    ValidateService,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl AppSpec {
    /// Reads the text of one, by the same Python that moto runs on.
    fn read(text: &str) -> Self {
        let output = Command::new(crate::moto::python())
            .args(["-c", "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.argv[1])))", text])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("an appspec.yml that CodeDeploy takes")
    }

    fn hooks(&self, event: Event) -> &[Hook] {
        match event {
            Event::ApplicationStop => &self.hooks.application_stop,
            Event::BeforeInstall => &self.hooks.before_install,
            Event::AfterInstall => &self.hooks.after_install,
            Event::ApplicationStart => &self.hooks.application_start,
            Event::ValidateService => &self.hooks.validate_service,
        }
    }
}

/// Why a deployment failed: the event, and what its hook printed.
#[derive(Debug)]
pub struct Failed {
    pub event: Event,
    pub said: String,
}

/// The agent of one server.
pub struct Agent {
    /// The deployment whose files were installed last, however it ended, and what its bundle says.
    last: Option<(String, AppSpec)>,
    /// What all hooks so far have printed.
    pub log: String,
    /// How often each hook is run.
    pub times: usize,
}

impl Agent {
    pub fn new() -> Self {
        Self { last: None, log: String::new(), times: 1 }
    }

    /// Deploys a bundle: a directory of this host.
    pub async fn deploy(
        &mut self,
        server: &Server,
        deployment: &str,
        bundle: &std::path::Path,
    ) -> Result<(), Failed> {
        self.deploy_and(server, deployment, bundle, None).await
    }

    /// The same, with something that happens on the server before one of the events.
    pub async fn deploy_and(
        &mut self,
        server: &Server,
        deployment: &str,
        bundle: &std::path::Path,
        meanwhile: Option<(Event, &str)>,
    ) -> Result<(), Failed> {
        let happens = async |event| {
            if let Some((when, script)) = meanwhile
                && when == event
            {
                server.sh(script).await;
            }
        };
        if let Some((last, spec)) = self.last.clone() {
            self.run(server, deployment, Event::ApplicationStop, &last, &spec).await?;
        }
        let archive = format!("{DEPLOYMENTS}/{deployment}/deployment-archive");
        server.copy_in(bundle, &archive);
        let spec = AppSpec::read(&std::fs::read_to_string(bundle.join("appspec.yml")).unwrap());
        assert_eq!(spec.os, "linux");
        happens(Event::BeforeInstall).await;
        self.run(server, deployment, Event::BeforeInstall, deployment, &spec).await?;
        install(server, &archive, &spec).await;
        self.last = Some((deployment.to_owned(), spec.clone()));
        for event in [Event::AfterInstall, Event::ApplicationStart, Event::ValidateService] {
            happens(event).await;
            self.run(server, deployment, event, deployment, &spec).await?;
        }
        Ok(())
    }

    /// Runs the hooks of an event from the bundle of a deployment.
    async fn run(
        &mut self,
        server: &Server,
        deployment: &str,
        event: Event,
        bundle: &str,
        spec: &AppSpec,
    ) -> Result<(), Failed> {
        for hook in spec.hooks(event) {
            let script = format!("{DEPLOYMENTS}/{bundle}/deployment-archive/{}", hook.location);
            for _ in 0..self.times {
                let variables = [
                    format!("LIFECYCLE_EVENT={event}"),
                    format!("DEPLOYMENT_ID={deployment}"),
                    "APPLICATION_NAME=ec-deployer".to_owned(),
                    "DEPLOYMENT_GROUP_NAME=site".to_owned(),
                    "DEPLOYMENT_GROUP_ID=group".to_owned(),
                ];
                let timeout = hook.timeout.to_string();
                let mut command =
                    vec!["runuser", "-u", &hook.runas, "--", "env", "-i", "-C", "/opt/codedeploy-agent"];
                command.push("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
                command.extend(variables.iter().map(String::as_str));
                command.extend(["timeout", "-k", "5", &timeout, &script]);
                let (well, said) = server.run(&command).await;
                self.log.push_str(&said);
                if !well {
                    return Err(Failed { event, said });
                }
            }
        }
        Ok(())
    }
}

/// The event Install: what the installation before brought is removed, then files are copied, then get their owners.
async fn install(server: &Server, archive: &str, spec: &AppSpec) {
    assert_eq!(spec.file_exists_behavior, "OVERWRITE");
    // What is still there of the former files goes one by one; a directory with anything else in it is in the way.
    server
        .sh(&format!(
            "touch {CLEANUP}; tac {CLEANUP} | while IFS= read -r path; do
               if [ -d \"$path\" ]; then rmdir \"$path\"; elif [ -e \"$path\" ]; then rm \"$path\"; fi || exit; done
             : >{CLEANUP}"
        ))
        .await;
    for file in &spec.files {
        let source = format!("{archive}/{}", file.source.trim_matches('/'));
        let destination = &file.destination;
        server
            .sh(&format!(
                "install -d '{destination}' && cp -r '{source}'/. '{destination}' && find '{destination}' >>{CLEANUP}"
            ))
            .await;
    }
    for permission in &spec.permissions {
        for kind in &permission.kinds {
            let Permission { object, pattern, except, owner, group, mode, .. } = permission;
            let find = match kind.as_str() {
                "file" => "f",
                "directory" => "d",
                other => panic!("no type: {other}"),
            };
            // As the agent matches: a star stands for any part of a path.
            let except: String =
                except.iter().map(|name| format!("'{object}'/{name}) continue ;; ")).collect();
            let either = if pattern == "**" { format!("'{object}' | ") } else { String::new() };
            server
                .sh(&format!(
                    "find '{object}' -type {find} | while IFS= read -r path; do
                       case $path in {except} {either}'{object}'/{pattern}) ;; *) continue ;; esac
                       chown '{owner}:{group}' \"$path\"; chmod '{mode}' \"$path\"; done"
                ))
                .await;
        }
    }
}
