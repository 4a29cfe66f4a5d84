//! What golden images are baked on.

use super::{Ec2, errors::Asked};
use crate::cloud::CloudError;

/// Where Canonical publishes the id of its newest image of Ubuntu 22.04 LTS for x86-64: a release that AWS tests
/// CodeDeploy's agent on, and that gets updates until 2027 and for five years more by its subscription.
/// <https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/>,
/// <https://docs.aws.amazon.com/codedeploy/latest/userguide/codedeploy-agent.html>
const UBUNTU: &str = "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id";

impl Ec2 {
    /// The id of the image that golden images are baked on: `BASE_AMI`, else Canonical's newest.
    pub(super) async fn base_image(&self) -> Result<String, CloudError> {
        if let Some(id) = &self.0.config.base_ami {
            return Ok(id.clone());
        }
        let answer = self.0.ssm.get_parameter().name(UBUNTU).send().await.map_err(|error| {
            let told =
                Asked { service: "ssm", operation: "GetParameter", region: self.region() }.explain(error);
            CloudError {
                sentence: format!(
                    "The newest image of Ubuntu could not be looked up: {} Or set BASE_AMI to an image of an Ubuntu LTS.",
                    told.sentence
                ),
                ..told
            }
        })?;
        answer.parameter.and_then(|parameter| parameter.value).ok_or_else(|| {
            CloudError::never("AWS names no image of Ubuntu: set BASE_AMI to an image of an Ubuntu LTS.")
        })
    }
}
