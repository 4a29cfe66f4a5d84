//! All that this site asks of AWS, by the names of IAM: what the look at the account tries, and what
//! `infra/policy.json` allows.
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html>

/// What is lost where an action is not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Machines do not run.
    Machines,
    /// As [`Need::Machines`], where they have Elastic IPs.
    Addresses,
    /// Machines run, but this does not work.
    Part(&'static str),
}

/// The permissions of the site, in the order in which they are told.
pub(super) const ACTIONS: &[(&str, Need)] = &[
    ("ec2:DescribeInstances", Need::Machines),
    ("ec2:DescribeImages", Need::Machines),
    ("ec2:DescribeSnapshots", Need::Machines),
    ("ec2:DescribeSubnets", Need::Machines),
    ("ec2:DescribeLaunchTemplateVersions", Need::Part("no launch template can be used")),
    ("ec2:DescribeAddresses", Need::Addresses),
    ("ec2:DescribeSecurityGroups", Need::Part(LOOK)),
    ("ec2:DescribeRouteTables", Need::Part(LOOK)),
    ("ec2:DescribeVpcs", Need::Part(LOOK)),
    ("ec2:DescribeKeyPairs", Need::Part(LOOK)),
    ("ec2:DescribeInstanceTypes", Need::Part(LOOK)),
    ("ec2:DescribeInstanceTypeOfferings", Need::Part(LOOK)),
    ("ec2:RunInstances", Need::Machines),
    ("ec2:CreateTags", Need::Machines),
    ("ec2:StartInstances", Need::Part("stopped machines cannot be started")),
    ("ec2:StopInstances", Need::Part("machines cannot be stopped")),
    ("ec2:RebootInstances", Need::Part("machines cannot be rebooted")),
    ("ec2:TerminateInstances", Need::Machines),
    ("ec2:GetConsoleOutput", Need::Machines),
    ("ec2:CreateImage", Need::Machines),
    ("ec2:DeregisterImage", Need::Part("old golden images stay, and cost")),
    ("ec2:DeleteSnapshot", Need::Part("the disks of old golden images stay, and cost")),
    ("ec2:AllocateAddress", Need::Addresses),
    ("ec2:AssociateAddress", Need::Addresses),
    ("ec2:DisassociateAddress", Need::Addresses),
    ("ec2:ReleaseAddress", Need::Addresses),
    ("ssm:GetParameter", Need::Part("the newest image of Ubuntu is not found: set BASE_AMI")),
    ("ssm:SendCommand", Need::Part(SCRIPTS)),
    ("ssm:GetCommandInvocation", Need::Part(SCRIPTS)),
    ("ssm:DescribeInstanceInformation", Need::Part("it is not found out why a machine takes no scripts")),
];

const LOOK: &str = "this look sees less";
const SCRIPTS: &str = "nothing can be deployed again, nor logs and data fetched";

/// Kinds of things that an action is allowed on or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Instance,
    Image,
    Snapshot,
    Address,
    Document,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Instance, Self::Image, Self::Snapshot, Self::Address, Self::Document];

    /// On what an action is allowed, where it changes what is there.
    pub fn of(action: &str) -> &'static [Self] {
        match action {
            "ec2:CreateImage" => &[Self::Instance, Self::Image, Self::Snapshot],
            "ec2:CreateTags" | "ec2:DeregisterImage" => &[Self::Image],
            "ec2:DeleteSnapshot" => &[Self::Snapshot],
            "ec2:AssociateAddress" => &[Self::Address, Self::Instance],
            "ec2:DisassociateAddress" | "ec2:ReleaseAddress" => &[Self::Address],
            "ssm:SendCommand" => &[Self::Instance, Self::Document],
            _ => &[Self::Instance],
        }
    }

    /// The ARN of a thing of the kind that need not be there.
    pub fn arn(self, partition: &str, region: &str, account: &str) -> String {
        let (service, account, path) = match self {
            Self::Instance => ("ec2", account, "instance/i-0123456789abcdef0"),
            Self::Image => ("ec2", "", "image/ami-0123456789abcdef0"),
            Self::Snapshot => ("ec2", "", "snapshot/snap-0123456789abcdef0"),
            Self::Address => ("ec2", account, "elastic-ip/eipalloc-0123456789abcdef0"),
            Self::Document => ("ssm", "", "document/AWS-RunShellScript"),
        };
        format!("arn:{partition}:{service}:{region}:{account}:{path}")
    }
}
