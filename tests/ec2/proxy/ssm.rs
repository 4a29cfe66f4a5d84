//! Systems Manager: moto's sends commands that succeed at once and say nothing. Here machines have an agent or not,
//! and their scripts end as a test says, after a while.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::{
    Inner,
    call::{Call, answer_json},
    http::Reply,
};

/// How a script ends.
#[derive(Clone, Debug)]
pub struct Ending {
    /// `Success`, `Failed`, `TimedOut`.
    pub status: &'static str,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ending {
    pub fn success(stdout: &str) -> Self {
        Self { status: "Success", code: 0, stdout: stdout.to_owned(), stderr: String::new() }
    }

    pub fn failure(code: i32, stderr: &str) -> Self {
        Self { status: "Failed", code, stdout: String::new(), stderr: stderr.to_owned() }
    }
}

/// A command that was sent.
#[derive(Clone, Debug)]
pub struct Command {
    pub instance: String,
    /// The lines of its script, joined.
    pub script: String,
    ending: Ending,
    /// How often it is asked for until it has ended.
    left: u32,
}

/// How a script ends, by the machine's id and the script.
pub type Ends = dyn Fn(&str, &str) -> Ending + Send;

/// What Systems Manager knows and how it answers.
pub struct Ssm {
    /// The machines whose agent is known, and its state: `Online`, `ConnectionLost`.
    pub agents: BTreeMap<String, &'static str>,
    /// How scripts end.
    pub ending: Box<Ends>,
    /// How often a command is asked for until it has ended; the first time it is not there yet.
    pub takes: u32,
    /// Ids and commands, in their order.
    pub commands: Vec<(String, Command)>,
    /// Values of parameters, by the beginning of their names.
    pub parameters: HashMap<String, String>,
}

impl Default for Ssm {
    fn default() -> Self {
        Self {
            agents: BTreeMap::new(),
            ending: Box::new(|_, _| Ending::success("")),
            takes: 0,
            commands: Vec::new(),
            parameters: HashMap::new(),
        }
    }
}

impl Inner {
    /// The answer to a call, where it is not moto's.
    pub(super) fn ssm(&self, call: &Call) -> Option<Reply> {
        let mut ssm = self.ssm.lock().unwrap();
        match call.action.as_str() {
            "SendCommand" => Some(ssm.send(call)),
            "GetCommandInvocation" => Some(ssm.invocation(call)),
            "ListCommandInvocations" => Some(ssm.invocations(call)),
            "DescribeInstanceInformation" => Some(ssm.information(call)),
            "GetParameter" => ssm.parameter(call),
            _ => None,
        }
    }
}

impl Ssm {
    fn send(&mut self, call: &Call) -> Reply {
        let ids = strings(&call.json["InstanceIds"]);
        let Some(instance) = ids.first().filter(|id| self.agents.get(*id) == Some(&"Online")) else {
            return call.error(400, "InvalidInstanceId", "Instances not in a valid state for account");
        };
        let id = format!("00000000-0000-4000-8000-{:012}", self.commands.len() + 1);
        let script = strings(&call.json["Parameters"]["commands"]).join("\n");
        let ending = (self.ending)(instance, &script);
        let command = Command { instance: instance.clone(), script, ending, left: self.takes };
        self.commands.push((id.clone(), command));
        let said = json!({ "CommandId": id, "Status": "Pending", "InstanceIds": ids });
        answer_json(200, &json!({ "Command": said }))
    }

    fn invocation(&mut self, call: &Call) -> Reply {
        let (id, takes) = (call.json["CommandId"].clone(), self.takes);
        let found = self.commands.iter_mut().find(|(known, _)| id == known.as_str());
        match found {
            Some((_, command)) if command.left == 0 || command.left < takes => {
                answer_json(200, &command.look(&id))
            }
            Some((_, command)) => {
                command.left -= 1;
                call.error(400, "InvocationDoesNotExist", "")
            }
            None => call.error(400, "InvocationDoesNotExist", ""),
        }
    }

    fn invocations(&mut self, call: &Call) -> Reply {
        let id = call.json["CommandId"].clone();
        let found = self.commands.iter_mut().filter(|(known, _)| id == known.as_str());
        let told: Vec<_> = found
            .map(|(_, command)| {
                let mut said = command.look(&id);
                said["CommandPlugins"] = json!([{
                    "Name": "aws:runShellScript",
                    "Status": said["Status"],
                    "ResponseCode": said["ResponseCode"],
                    "Output": said["StandardOutputContent"],
                }]);
                said
            })
            .collect();
        answer_json(200, &json!({ "CommandInvocations": told }))
    }

    fn information(&self, call: &Call) -> Reply {
        let wanted: Vec<_> = call.json["Filters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|filter| filter["Key"] == "InstanceIds")
            .flat_map(|filter| strings(&filter["Values"]))
            .collect();
        let list: Vec<_> = self
            .agents
            .iter()
            .filter(|(id, _)| wanted.is_empty() || wanted.contains(id))
            .map(|(id, ping)| json!({ "InstanceId": id, "PingStatus": ping, "PlatformType": "Linux", "AgentVersion": "3.3.2299.0" }))
            .collect();
        answer_json(200, &json!({ "InstanceInformationList": list }))
    }

    fn parameter(&self, call: &Call) -> Option<Reply> {
        let name = call.json["Name"].as_str()?;
        let (_, value) = self.parameters.iter().find(|(known, _)| name.starts_with(*known))?;
        let said = json!({ "Name": name, "Type": "String", "Value": value, "Version": 1, "DataType": "aws:ec2:image" });
        Some(answer_json(200, &json!({ "Parameter": said })))
    }
}

impl Command {
    /// What is said of it now; the next time it is nearer to its end.
    fn look(&mut self, id: &Value) -> Value {
        if self.left > 0 {
            self.left -= 1;
            return json!({
                "CommandId": id, "InstanceId": self.instance, "DocumentName": "AWS-RunShellScript",
                "Status": "InProgress", "StatusDetails": "InProgress", "ResponseCode": -1,
                "StandardOutputContent": "", "StandardErrorContent": "",
            });
        }
        let Ending { status, code, stdout, stderr } = &self.ending;
        // Systems Manager keeps the first 24,000 characters of each.
        // https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
        let first = |text: &str| text.chars().take(24_000).collect::<String>();
        json!({
            "CommandId": id, "InstanceId": self.instance, "DocumentName": "AWS-RunShellScript",
            "Status": status, "StatusDetails": status, "ResponseCode": code,
            "StandardOutputContent": first(stdout), "StandardErrorContent": first(stderr),
        })
    }
}

fn strings(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
