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
    ("ec2:DescribeVolumes", Need::Part("disks that no record knows are not found, and cost")),
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
    ("ec2:DeleteVolume", Need::Part("disks that no record knows cannot be deleted")),
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
    Volume,
    Address,
    Document,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Instance, Self::Image, Self::Snapshot, Self::Volume, Self::Address, Self::Document];

    /// On what an action is allowed, where it changes what is there.
    pub fn of(action: &str) -> &'static [Self] {
        match action {
            "ec2:CreateImage" => &[Self::Instance, Self::Image, Self::Snapshot],
            "ec2:CreateTags" | "ec2:DeregisterImage" => &[Self::Image],
            "ec2:DeleteSnapshot" => &[Self::Snapshot],
            "ec2:DeleteVolume" => &[Self::Volume],
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
            Self::Volume => ("ec2", account, "volume/vol-0123456789abcdef0"),
            Self::Address => ("ec2", account, "elastic-ip/eipalloc-0123456789abcdef0"),
            Self::Document => ("ssm", "", "document/AWS-RunShellScript"),
        };
        format!("arn:{partition}:{service}:{region}:{account}:{path}")
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path, sync::LazyLock};

    use regex::Regex;
    use serde_json::Value;

    use super::*;

    /// What is asked beside [`ACTIONS`]: who we are needs no permission, the role is told of by itself, and a
    /// simulation is asked for where it may be.
    const BESIDES: [&str; 4] = [
        "sts:GetCallerIdentity",
        "iam:GetInstanceProfile",
        "iam:ListAttachedRolePolicies",
        "iam:SimulatePrincipalPolicy",
    ];

    fn statements() -> &'static [Value] {
        static READ: LazyLock<Vec<Value>> = LazyLock::new(read);
        &READ
    }

    fn read() -> Vec<Value> {
        let policy: Value = serde_json::from_str(include_str!("../../../../infra/policy.json")).unwrap();
        assert_eq!(policy["Version"], "2012-10-17");
        let statements = policy["Statement"].as_array().unwrap().clone();
        assert!(statements.iter().all(|statement| statement["Effect"] == "Allow"));
        statements
    }

    fn words(value: &Value) -> Vec<String> {
        match value {
            Value::String(word) => vec![word.clone()],
            Value::Array(words) => words.iter().map(|word| word.as_str().unwrap().to_owned()).collect(),
            _ => panic!("{value} is neither a word nor a list of them"),
        }
    }

    /// Whether a text is like a pattern with `*`, and `?*` for at least one character.
    fn like(pattern: &str, text: &str) -> bool {
        if let Some(rest) = pattern.strip_prefix("?*") {
            return !text.is_empty() && like(&format!("*{rest}"), &text[1..]);
        }
        match pattern.split_once('*') {
            None => pattern == text,
            Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
                (0..=text.len()).any(|at| text.is_char_boundary(at) && like(rest, &text[at..]))
            }),
        }
    }

    /// Whether the policy allows an action on a resource. What is known of the request: keys and their values.
    fn allows(action: &str, resource: &str, known: &[(&str, &[&str])]) -> bool {
        statements().iter().any(|statement| {
            words(&statement["Action"]).iter().any(|pattern| like(pattern, action))
                && words(&statement["Resource"]).iter().any(|pattern| like(pattern, resource))
                && holds(&statement["Condition"], known)
        })
    }

    /// Whether every key of every operator of a condition holds.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
    fn holds(condition: &Value, known: &[(&str, &[&str])]) -> bool {
        let Some(operators) = condition.as_object() else { return true };
        operators.iter().all(|(operator, keys)| {
            keys.as_object().unwrap().iter().all(|(key, wanted)| {
                let values = known.iter().find(|(name, _)| name == key).map(|(_, values)| *values);
                let wanted = words(wanted);
                let is = |value: &str| wanted.iter().any(|wanted| wanted == value);
                match (operator.as_str(), values) {
                    ("Null", values) => is(if values.is_none() { "true" } else { "false" }),
                    ("ForAllValues:StringEquals", values) => {
                        values.unwrap_or_default().iter().all(|value| is(value))
                    }
                    (_, None) => false,
                    ("StringEquals", Some(values)) => values.iter().any(|value| is(value)),
                    ("StringLike", Some(values)) => {
                        values.iter().any(|value| wanted.iter().any(|wanted| like(wanted, value)))
                    }
                    (operator, _) => panic!("{operator} is not known here"),
                }
            })
        })
    }

    /// The text of every file of this cloud.
    fn sources(directory: &Path) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                text.push_str(&sources(&path));
            } else {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
        text
    }

    /// The actions of all requests in the code.
    fn called() -> BTreeSet<String> {
        let text = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cloud/ec2"));
        let request = Regex::new(r"\b(ec2|ssm|sts|iam)\s*\.([a-z_]+)\(\)").unwrap();
        request
            .captures_iter(&text)
            // Methods of our own have the same shape.
            .filter(|found| !text.contains(&format!("fn {}(&self)", &found[2])))
            .map(|found| {
                let operation: String =
                    found[2].split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect();
                format!("{}:{operation}", &found[1])
            })
            .collect()
    }

    #[test]
    fn the_look_tries_every_permission_that_the_code_uses() {
        let tried = ACTIONS.iter().map(|(action, _)| *action).chain(BESIDES);
        assert_eq!(called(), tried.map(str::to_owned).collect());
    }

    #[test]
    fn the_policy_has_every_action_that_the_code_uses_and_none_besides() {
        let called = called();
        let listed: BTreeSet<String> =
            statements().iter().flat_map(|statement| words(&statement["Action"])).collect();
        let unneeded = ["sts:GetCallerIdentity", "iam:SimulatePrincipalPolicy"];
        for action in called.iter().filter(|action| !unneeded.contains(&action.as_str())) {
            assert!(listed.iter().any(|pattern| like(pattern, action)), "{action} is not in the policy");
        }
        for pattern in &listed {
            // A launch passes the role.
            let used = pattern == "iam:PassRole" || called.iter().any(|action| like(pattern, action));
            assert!(used, "{pattern} is in the policy, and nothing uses it");
        }
    }

    #[test]
    fn nothing_is_changed_that_does_not_carry_our_tag() {
        let ours: &[(&str, &[&str])] = &[
            ("aws:ResourceTag/ManagedBy", &["ec-deployer"]),
            ("ssm:resourceTag/ManagedBy", &["ec-deployer"]),
            ("aws:RequestTag/ManagedBy", &["ec-deployer"]),
            ("aws:RequestTag/ec-deployer:site", &["0123456789abcdef"]),
            ("aws:TagKeys", &["ec-deployer:state"]),
        ];
        let others: &[(&str, &[&str])] = &[
            ("aws:ResourceTag/ManagedBy", &["terraform"]),
            ("ssm:resourceTag/ManagedBy", &["terraform"]),
            ("aws:TagKeys", &["ec-deployer:state"]),
        ];
        for (action, _) in ACTIONS.iter().filter(|(action, _)| {
            !action.contains(":Describe")
                && ![
                    "ec2:RunInstances",
                    "ec2:AllocateAddress",
                    "ssm:GetParameter",
                    "ssm:GetCommandInvocation",
                ]
                .contains(action)
        }) {
            for kind in Kind::of(action) {
                let arn = kind.arn("aws", "eu-central-1", "123456789012");
                assert!(allows(action, &arn, ours), "{action} on {arn} of ours");
                if *kind != Kind::Document {
                    assert!(!allows(action, &arn, others), "{action} on {arn} of others");
                    assert!(!allows(action, &arn, &[]), "{action} on {arn} without tags");
                }
            }
        }
        assert!(!allows(
            "ssm:SendCommand",
            "arn:aws:ssm:eu-central-1::document/AWS-RunPowerShellScript",
            ours
        ));
        assert!(!allows("ssm:GetParameter", "arn:aws:ssm:eu-central-1:1:parameter/their/secret", ours));
    }

    #[test]
    fn a_launch_is_allowed_with_our_tags_and_our_role_only() {
        let arn = |path: &str| format!("arn:aws:ec2:eu-central-1:123456789012:{path}");
        let tags: &[(&str, &[&str])] = &[
            ("aws:RequestTag/ManagedBy", &["ec-deployer"]),
            ("aws:RequestTag/ec-deployer:site", &["0123456789abcdef"]),
        ];
        for path in ["subnet/subnet-1", "security-group/sg-1", "key-pair/mine", "network-interface/*"] {
            assert!(allows("ec2:RunInstances", &arn(path), &[]), "{path}");
        }
        assert!(allows("ec2:RunInstances", "arn:aws:ec2:eu-central-1::image/ami-1", &[]));
        for path in ["instance/*", "volume/*"] {
            assert!(allows("ec2:RunInstances", &arn(path), tags), "{path}");
            assert!(!allows("ec2:RunInstances", &arn(path), &tags[..1]), "{path} of no site");
            assert!(!allows("ec2:RunInstances", &arn(path), &tags[1..]), "{path} of another manager");
        }
        // Tags are given to what is being made, and not to what is there.
        let made = |by: &'static [&'static str]| [tags[0], ("ec2:CreateAction", by)];
        assert!(allows("ec2:CreateTags", &arn("instance/*"), &made(&["RunInstances"])));
        assert!(!allows("ec2:CreateTags", &arn("instance/i-1"), &tags[..1]));
        assert!(!allows("ec2:CreateTags", &arn("instance/i-1"), &made(&["CreateVolume"])));
        // An image of ours may be said to be good, and nothing else of it.
        let image = "arn:aws:ec2:eu-central-1::image/ami-1";
        let ours: (&str, &[&str]) = ("aws:ResourceTag/ManagedBy", &["ec-deployer"]);
        assert!(allows("ec2:CreateTags", image, &[ours, ("aws:TagKeys", &["ec-deployer:state"])]));
        assert!(!allows("ec2:CreateTags", image, &[ours, ("aws:TagKeys", &["ec-deployer:state", "Name"])]));

        let role = "arn:aws:iam::123456789012:role/ec-deployer-machine";
        let to: (&str, &[&str]) = ("iam:PassedToService", &["ec2.amazonaws.com"]);
        assert!(allows("iam:PassRole", role, &[to]));
        assert!(!allows("iam:PassRole", role, &[("iam:PassedToService", &["lambda.amazonaws.com"])]));
        assert!(!allows("iam:PassRole", "arn:aws:iam::123456789012:role/admin", &[to]));
    }
}
