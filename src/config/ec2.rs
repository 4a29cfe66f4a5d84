//! The settings of `CLOUD=ec2`. Credentials, region and endpoint come from the usual chain of AWS.

use clap::Args;

use crate::domain::{AddressRule, MachineType};

/// The settings of `CLOUD=ec2`.
#[derive(Args, Clone, Debug)]
pub struct Ec2Args {
    /// The golden image that machines boot from; by default the newest good one that the site has baked.
    #[arg(long, env = "GOLDEN_AMI")]
    pub golden_ami: Option<String>,

    /// A launch template, by id or name, and after a colon perhaps its version. What is set here besides goes before it.
    #[arg(long, env = "LAUNCH_TEMPLATE")]
    pub launch_template: Option<String>,

    /// The type of machine where the owner chooses none.
    #[arg(long, env = "INSTANCE_TYPE", default_value = "t3.small")]
    pub instance_type: MachineType,

    /// The types of machine that the form offers, separated by commas.
    #[arg(
        long,
        env = "INSTANCE_TYPES",
        value_delimiter = ',',
        default_value = "t3.micro,t3.small,t3.medium,t3.large"
    )]
    pub instance_types: Vec<MachineType>,

    /// Subnets that machines run in, the first one that has room; by default those of the default VPC.
    #[arg(long, env = "SUBNET_IDS", value_delimiter = ',')]
    pub subnet_ids: Vec<String>,

    /// Security groups of the machines; they must open port 80. By default the network's own.
    #[arg(long, env = "SECURITY_GROUP_IDS", value_delimiter = ',')]
    pub security_group_ids: Vec<String>,

    /// The name of the machines' instance profile, whose role lets Systems Manager run scripts on them.
    #[arg(long, env = "INSTANCE_PROFILE")]
    pub instance_profile: Option<String>,

    /// The name of a key pair for SSH.
    #[arg(long, env = "KEY_PAIR")]
    pub key_pair: Option<String>,

    /// The size of a machine's disk, in GiB.
    #[arg(long, env = "DISK_GIB", default_value_t = 16, value_parser = clap::value_parser!(u16).range(8..=16384))]
    pub disk_gib: u16,

    /// The image that golden images are baked on; by default Canonical's newest Ubuntu 22.04 LTS.
    #[arg(long, env = "BASE_AMI")]
    pub base_ami: Option<String>,

    /// Whether each machine gets an Elastic IP, which it keeps while it is stopped.
    #[arg(long, env = "ELASTIC_IP", default_value_t = false, action = clap::ArgAction::Set)]
    pub elastic_ip: bool,

    /// Where to ask for a project's page instead of its public IP: `from=to`, separated by commas, `*` for every
    /// address. For tests, whose public IPs are invented.
    #[arg(long, env = "ADDRESS_MAP", value_delimiter = ',', hide = true)]
    pub address_map: Vec<AddressRule>,
}
