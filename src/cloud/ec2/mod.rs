//! Machines on AWS EC2. Credentials, region and endpoint come from the usual chain of AWS.
//!
//! Every verb is one request or a few, and none keeps a record: what is there is read off the cloud by this
//! site's tag, so that a verb may be cut short at any line and repeated. Requests that are not the same when they
//! are made twice (a launch, an allocation, an image, a reboot, a command) are never repeated by the SDK itself:
//! whoever asked repeats the saved request, and owns the pauses.

mod address;
mod bake;
mod base;
mod command;
mod console;
mod doctor;
mod errors;
mod image;
mod inventory;
mod launch;
mod limiter;
mod observe;
mod placement;
mod power;
mod requests;
mod tags;

use std::{sync::Arc, time::Duration};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};

use self::limiter::Limiter;
pub(crate) use self::{
    errors::{Asked, code},
    requests::Requests,
};
use super::CloudError;
use crate::domain::MachineType;

/// How long a connection to AWS may take.
const CONNECT: Duration = Duration::from_secs(4);
/// How long one request may take. `RunInstances` takes some seconds; what hangs is told apart from what is slow.
const ATTEMPT: Duration = Duration::from_secs(20);
/// How long a verb's request may take with its repetitions.
const OPERATION: Duration = Duration::from_secs(60);
/// How often a request that only reads is sent, the first time included.
const READ_ATTEMPTS: u32 = 3;

/// How this site runs machines on EC2.
#[derive(Clone, Debug)]
pub struct Ec2Config {
    /// The site's random id, the tag of its machines.
    pub site: String,
    /// The golden image that machines boot from, where the site's own are not wanted: `GOLDEN_AMI`.
    pub golden_ami: Option<String>,
    /// A launch template by id or name, and after a colon perhaps its version: `LAUNCH_TEMPLATE`.
    pub launch_template: Option<String>,
    /// The type of machine where none is chosen, and of builders: `INSTANCE_TYPE`.
    pub machine_type: MachineType,
    /// The types of machine that may be chosen, for the look at whether they are there: `INSTANCE_TYPES`.
    pub machine_types: Vec<MachineType>,
    /// The ids of the subnets that machines may run in; none takes those of the default VPC: `SUBNET_IDS`.
    pub subnets: Vec<String>,
    /// The ids of their security groups; none takes the network's own: `SECURITY_GROUP_IDS`.
    pub security_groups: Vec<String>,
    /// The name of their instance profile: `INSTANCE_PROFILE`.
    pub instance_profile: Option<String>,
    /// The name of a key pair for SSH: `KEY_PAIR`.
    pub key_pair: Option<String>,
    /// The size of their disks in GiB: `DISK_GIB`.
    pub disk_gib: u16,
    /// The image that golden images are baked on; none takes Canonical's newest: `BASE_AMI`.
    pub base_ami: Option<String>,
    /// Whether each machine gets an Elastic IP: `ELASTIC_IP`.
    pub elastic_ip: bool,
    /// Where machines reach the site, without a slash at the end, for the look at whether they can.
    pub callback_url: String,
}

/// Machines on EC2.
#[derive(Clone)]
pub struct Ec2(Arc<Inner>);

struct Inner {
    config: Ec2Config,
    region: Option<String>,
    ec2: aws_sdk_ec2::Client,
    ssm: aws_sdk_ssm::Client,
    sts: aws_sdk_sts::Client,
    iam: aws_sdk_iam::Client,
    launches: Limiter,
}

/// The clients and what they hold are AWS's own; the settings say what this is.
impl std::fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ec2").field("config", &self.0.config).field("region", &self.0.region).finish()
    }
}

impl Ec2 {
    /// Machines by this configuration. Credentials are looked for with the first request.
    pub async fn new(config: Ec2Config) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION)
            .build();
        let aws = aws_config::from_env()
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(READ_ATTEMPTS))
            .load()
            .await;
        Self::with(config, &aws)
    }

    fn with(config: Ec2Config, aws: &SdkConfig) -> Self {
        let ec2 = aws_sdk_ec2::config::Builder::from(aws).interceptor(Requests).build();
        let ssm = aws_sdk_ssm::config::Builder::from(aws).interceptor(Requests).build();
        let sts = aws_sdk_sts::config::Builder::from(aws).interceptor(Requests).build();
        let iam = aws_sdk_iam::config::Builder::from(aws).interceptor(Requests).build();
        Self(Arc::new(Inner {
            config,
            region: aws.region().map(ToString::to_string),
            ec2: aws_sdk_ec2::Client::from_conf(ec2),
            ssm: aws_sdk_ssm::Client::from_conf(ssm),
            sts: aws_sdk_sts::Client::from_conf(sts),
            iam: aws_sdk_iam::Client::from_conf(iam),
            launches: Limiter::new(),
        }))
    }

    /// Looks whether EC2 can be asked at all, finds the launch template, and ends what interrupted bakes left.
    /// Idempotent.
    ///
    /// # Errors
    /// Where it cannot, with the cure.
    pub async fn prepare(&self) -> Result<(), CloudError> {
        if self.0.region.is_none() {
            return Err(CloudError::never(
                "No region is set: set AWS_REGION to the one that machines are to run in.",
            ));
        }
        self.find_template().await?;
        self.clear_bakes().await
    }

    /// The account and the region that are asked.
    ///
    /// # Errors
    /// Where AWS cannot say.
    pub async fn whereabouts(&self) -> Result<String, CloudError> {
        let asked = Asked { service: "sts", operation: "GetCallerIdentity", region: self.region() };
        let answer = self.0.sts.get_caller_identity().send().await.map_err(|error| asked.explain(error))?;
        Ok(format!("ec2 account {} region {}", answer.account().unwrap_or("unknown"), self.region()))
    }

    /// The settings of a request that changes something: it is sent once, and whoever asked repeats it.
    fn once() -> aws_sdk_ec2::config::Builder {
        aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled())
    }

    /// The name of the region, where one is set.
    pub fn region_name(&self) -> Option<&str> {
        self.0.region.as_deref()
    }

    /// The name of the region, or what stands for it in sentences.
    fn region(&self) -> &str {
        self.0.region.as_deref().unwrap_or("no region")
    }
}
