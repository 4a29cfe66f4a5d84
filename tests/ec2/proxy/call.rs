//! A call of an AWS service: what was asked of whom, and how its errors are written.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use url::form_urlencoded;

use super::{
    http::{Reply, Request},
    xml::Element,
};

/// A call.
#[derive(Clone, Debug)]
pub struct Call {
    /// `ec2`, `ssm`, `iam`, `sts`.
    pub service: String,
    /// `RunInstances`.
    pub action: String,
    /// What a form said, without its action and version: `InstanceId.1`.
    pub params: BTreeMap<String, String>,
    /// What a JSON body said.
    pub json: Value,
    /// The status of its answer, once there is one.
    pub status: Option<u16>,
}

impl Call {
    pub fn of(request: &Request) -> Self {
        // Credential=AKIA…/20260101/eu-west-1/ec2/aws4_request
        let scope = request.header("authorization").split("Credential=").nth(1).unwrap_or_default();
        let service = scope.split('/').nth(3).unwrap_or_default().to_owned();
        if let Some((_, action)) = request.header("x-amz-target").split_once('.') {
            let json = serde_json::from_slice(&request.body).unwrap_or_default();
            return Self { service, action: action.to_owned(), params: BTreeMap::new(), json, status: None };
        }
        let mut params: BTreeMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        let action = params.remove("Action").unwrap_or_default();
        params.remove("Version");
        Self { service, action, params, json: Value::Null, status: None }
    }

    pub fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The values of a list: `InstanceId.1`, `InstanceId.2` and so on.
    pub fn list(&self, name: &str) -> Vec<String> {
        (1..).map_while(|n| self.params.get(&format!("{name}.{n}")).cloned()).collect()
    }

    /// The subnet that a launch names, by itself or with its interface.
    pub fn subnet(&self) -> &str {
        let of_interface = self.param("NetworkInterface.1.SubnetId");
        if of_interface.is_empty() { self.param("SubnetId") } else { of_interface }
    }

    /// The tags that a launch or a creation puts on resources of a kind.
    pub fn tags(&self, kind: &str) -> BTreeMap<String, String> {
        let specification = (1..)
            .map(|n| format!("TagSpecification.{n}"))
            .take_while(|name| self.params.contains_key(&format!("{name}.ResourceType")))
            .find(|name| self.param(&format!("{name}.ResourceType")) == kind);
        let Some(name) = specification else { return BTreeMap::new() };
        (1..)
            .map(|n| format!("{name}.Tag.{n}"))
            .map_while(|tag| {
                let key = self.params.get(&format!("{tag}.Key"))?;
                Some((key.clone(), self.param(&format!("{tag}.Value")).to_owned()))
            })
            .collect()
    }

    /// An error as its service writes it.
    pub fn error(&self, status: u16, code: &str, message: &str) -> Reply {
        let said = [Element::new("Code", code), Element::new("Message", message)];
        let said: String = said.iter().map(ToString::to_string).collect();
        match self.service.as_str() {
            "ssm" => answer_json(status, &json!({ "__type": code, "message": message, "Message": message })),
            "ec2" => answer_xml(
                status,
                &format!(
                    "<Response><Errors><Error>{said}</Error></Errors><RequestID>proxy</RequestID></Response>"
                ),
            ),
            _ => answer_xml(
                status,
                &format!(
                    "<ErrorResponse><Error><Type>Sender</Type>{said}</Error><RequestId>proxy</RequestId></ErrorResponse>"
                ),
            ),
        }
    }
}

pub fn answer_xml(status: u16, xml: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{xml}").into_bytes();
    Reply { status, kind: "text/xml;charset=UTF-8".into(), body }
}

pub fn answer_json(status: u16, json: &Value) -> Reply {
    Reply { status, kind: "application/x-amz-json-1.1".into(), body: json.to_string().into_bytes() }
}
