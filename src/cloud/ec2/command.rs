//! Starting a script on a machine, by Systems Manager, whose agent asks for it: no port is opened and no key kept.

use std::time::Duration;

use aws_sdk_ssm::{
    config::{http::HttpResponse, retry::RetryConfig},
    error::{ProvideErrorMetadata, SdkError},
    types::{CommandInvocationStatus as Status, InstanceInformationStringFilter, PingStatus},
};
use tokio::time::sleep;

use super::{
    Ec2,
    errors::{Asked, code},
    tags,
};
use crate::{
    cloud::{CloudError, Job, detached},
    domain::InstanceId,
};

/// AWS's own document that runs a shell's commands as root.
const DOCUMENT: &str = "AWS-RunShellScript";
/// Seconds in which the agent has to take a command, the least that Systems Manager takes.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_SendCommand.html>
const DELIVERY: i32 = 30;
/// Seconds that the command itself may take: it only starts the script.
const EXECUTION: &str = "60";
/// How often it is asked what came of a command, a second apart.
const LOOKS: u32 = 40;

impl Ec2 {
    /// Starts a script as root on a running machine, as a unit of its own that outlives us.
    ///
    /// # Errors
    /// Where Systems Manager does not reach the machine, with what is missing; where the machine does not take the
    /// script, with what it printed.
    pub async fn run(&self, id: &InstanceId, job: Job, script: &[u8]) -> Result<(), CloudError> {
        let call = self
            .0
            .ssm
            .send_command()
            .document_name(DOCUMENT)
            .instance_ids(id.as_str())
            .comment(format!("EC Django Deployer: {job}"))
            .timeout_seconds(DELIVERY)
            .parameters("commands", vec![detached::command(job, script)])
            .parameters("executionTimeout", vec![EXECUTION.to_owned()]);
        // A repetition would be a second command.
        let once = aws_sdk_ssm::config::Builder::new().retry_config(RetryConfig::disabled());
        let answer = match call.customize().config_override(once).send().await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("InvalidInstanceId") => {
                return Err(self.out_of_reach(id).await);
            }
            Err(error) => return Err(self.explain_ssm("SendCommand", error)),
        };
        let command = answer.command.and_then(|command| command.command_id);
        let command = command.ok_or_else(|| CloudError::later("AWS answered without the command's id."))?;
        self.until_taken(id, &command).await
    }

    /// Waits until the machine has taken a command.
    async fn until_taken(&self, id: &InstanceId, command: &str) -> Result<(), CloudError> {
        for _ in 0..LOOKS {
            let call = self.0.ssm.get_command_invocation().command_id(command).instance_id(id.as_str());
            let told = match call.send().await {
                Ok(told) => told,
                // It takes a moment until Systems Manager knows its own command.
                Err(error) if code(&error) == Some("InvocationDoesNotExist") => {
                    sleep(Duration::from_secs(1)).await;
                    continue;
                }
                Err(error) => return Err(self.explain_ssm("GetCommandInvocation", error)),
            };
            match told.status() {
                Some(Status::Success) => return Ok(()),
                // -1: the machine has not taken it.
                // https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
                Some(Status::Failed) if told.response_code() == -1 => {
                    return Err(self.out_of_reach(id).await);
                }
                Some(Status::Failed) => {
                    let said = last_words(told.standard_error_content(), told.standard_output_content());
                    return Err(CloudError::never(format!("The machine could not start the script: {said}")));
                }
                Some(Status::TimedOut | Status::Cancelled) => return Err(self.out_of_reach(id).await),
                _ => sleep(Duration::from_secs(1)).await,
            }
        }
        Err(CloudError::later("The machine has not answered Systems Manager yet."))
    }

    /// Why Systems Manager does not reach a machine: the agent, the instance profile or the network.
    async fn out_of_reach(&self, id: &InstanceId) -> CloudError {
        let filter =
            InstanceInformationStringFilter::builder().key("InstanceIds").values(id.as_str()).build();
        let known = match filter {
            Ok(filter) => self.0.ssm.describe_instance_information().filters(filter).send().await.ok(),
            Err(_) => None,
        };
        let known = known.and_then(|known| known.instance_information_list?.into_iter().next());
        if let Some(agent) = known {
            return CloudError::later(match agent.ping_status() {
                Some(PingStatus::Online) => "The machine's agent of Systems Manager is there, but did not take the script in time.".to_owned(),
                _ => "The machine's agent of Systems Manager was heard before, but is not any more: the machine is busy or stopped, or its network no longer reaches Systems Manager.".to_owned(),
            });
        }
        let found = self.describe(vec![tags::filter("instance-id", [id.as_str()])]).await;
        let profile = found
            .ok()
            .and_then(|found| found.first().map(|machine| machine.iam_instance_profile().is_some()));
        if profile == Some(false) {
            return CloudError::later(
                "Systems Manager cannot reach the machine, since it has no instance profile. The site's admin attaches one whose role has the policy AmazonSSMManagedInstanceCore, and sets INSTANCE_PROFILE for those to come.",
            );
        }
        CloudError::later(format!(
            "Systems Manager has never heard of the machine. Either its instance profile's role lacks the policy AmazonSSMManagedInstanceCore, or the machine's network does not reach ssm.{}.amazonaws.com, or its image has no agent of Systems Manager. A machine that has just started takes a minute.",
            self.region()
        ))
    }

    fn explain_ssm<E>(&self, operation: &'static str, error: SdkError<E, HttpResponse>) -> CloudError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        Asked { service: "ssm", operation, region: self.region() }.explain(error)
    }
}

/// The last line of what a command printed, its errors first.
fn last_words(errors: Option<&str>, output: Option<&str>) -> String {
    let last = |text: Option<&str>| {
        text?
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(|line| line.chars().take(300).collect())
    };
    last(errors).or_else(|| last(output)).unwrap_or_else(|| "it printed nothing.".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_errors_own() {
        assert_eq!(last_words(Some("a\nno space left \n\n"), Some("fine")), "no space left");
        assert_eq!(last_words(Some(""), Some("fine\n")), "fine");
        assert_eq!(last_words(None, None), "it printed nothing.");
    }
}
