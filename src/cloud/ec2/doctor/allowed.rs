//! What this site is allowed. A dry run says it for certain, but only of what is there: a policy that allows a thing
//! with our tag says nothing of one that is made up. So it is tried on what this product has in the account already;
//! where it has nothing yet, IAM is asked to simulate it; and where that is not allowed either, it is not known.

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{DomainType, LocationType, ResourceType, Tag},
};
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};

use super::{
    Caller, Look,
    image::Bootable,
    listed, parts,
    policy::{ACTIONS, Kind, Need},
};
use crate::cloud::{
    CloudError,
    ec2::{errors::is_denied, launch::Ask, tags},
};

/// What of this product's there is in the account, to try permissions on.
#[derive(Default)]
struct Things {
    machine: Option<String>,
    image: Option<String>,
    snapshot: Option<String>,
    volume: Option<String>,
    /// The id of an Elastic IP.
    address: Option<String>,
    /// The id of one's association with a machine.
    association: Option<String>,
}

/// What came of a try.
enum Answer {
    Allowed,
    Denied,
    /// AWS answered, but not whether it is allowed.
    Unclear(CloudError),
    /// There is nothing to try it on.
    Untried,
}

impl Look<'_> {
    /// Tries each permission that the site needs.
    pub async fn allowed(&self, caller: &Caller, image: Option<&Bootable>) {
        let things = self.things().await;
        let mut untried = Vec::new();
        for (action, need) in ACTIONS {
            if !self.needs(action, *need) {
                continue;
            }
            match self.ask(action, &things, image).await {
                Answer::Allowed => self.ok(format!("allowed {action}")),
                Answer::Denied => self.denied(action, *need),
                Answer::Unclear(error) => {
                    let (seen, cure) = parts(&error);
                    self.warn(format!("whether {action} is allowed could not be looked at: {seen}"), cure);
                }
                Answer::Untried => untried.push((*action, *need)),
            }
        }
        self.simulated(caller, untried).await;
    }

    /// Whether the settings make the site use an action.
    fn needs(&self, action: &str, need: Need) -> bool {
        let config = &self.ec2.0.config;
        match action {
            "ec2:DescribeLaunchTemplateVersions" => config.launch_template.is_some(),
            "ec2:DescribeKeyPairs" => config.key_pair.is_some(),
            "ssm:GetParameter" => config.golden_ami.is_none() && config.base_ami.is_none(),
            // Launches are tried below, with what they are launched from.
            _ => need != Need::Addresses || config.elastic_ip,
        }
    }

    fn denied(&self, action: &str, need: Need) {
        let cure = "add it to the site's IAM policy; infra/policy.json has all that it needs";
        match need {
            Need::Machines | Need::Addresses => self.bad(format!("not allowed {action}"), cure),
            Need::Part(lost) => self.warn(format!("not allowed {action}: {lost}"), cure),
        }
    }

    /// Tries one permission.
    async fn ask(&self, action: &str, things: &Things, image: Option<&Bootable>) -> Answer {
        let ec2 = &self.ec2.0.ec2;
        if let Some(answer) = self.ask_to_describe(action).await {
            return answer;
        }
        match action {
            "ec2:RunInstances" => self.ask_to_launch(image).await,
            "ec2:AllocateAddress" => {
                let call = ec2.allocate_address().domain(DomainType::Vpc).dry_run(true);
                let call = call.tag_specifications(tags::on(ResourceType::ElasticIp, &self.tags()));
                self.answer(action, call.send().await)
            }
            "ssm:GetParameter" => match self.ec2.base_image().await {
                Err(error) if is_denied(&error) => Answer::Denied,
                // Of what else there is about it was told with the image.
                _ => Answer::Allowed,
            },
            "ssm:GetCommandInvocation" => {
                // Of no command: it is allowed on everything or not at all.
                let call = self.ec2.0.ssm.get_command_invocation();
                let answer = call.command_id(NO_COMMAND).instance_id(NO_MACHINE).send().await;
                match &answer {
                    Err(error) if error.code().is_some_and(|code| NO_SUCH.contains(&code)) => Answer::Allowed,
                    _ => self.answer(action, answer),
                }
            }
            "ssm:DescribeInstanceInformation" => {
                self.answer(action, self.ec2.0.ssm.describe_instance_information().send().await)
            }
            "ec2:CreateTags" | "ec2:DeregisterImage" | "ec2:DeleteSnapshot" => {
                self.ask_of_images(action, things).await
            }
            "ec2:DeleteVolume" => {
                let Some(id) = &things.volume else { return Answer::Untried };
                self.answer(action, ec2.delete_volume().volume_id(id).dry_run(true).send().await)
            }
            "ec2:AssociateAddress" | "ec2:DisassociateAddress" | "ec2:ReleaseAddress" => {
                self.ask_of_addresses(action, things).await
            }
            // It has no dry run, and a script on somebody's machine is not for a look.
            "ssm:SendCommand" => Answer::Untried,
            _ => self.ask_of_machines(action, things).await,
        }
    }

    /// What only reads, by a dry run too; what is not one after all is to bring little.
    async fn ask_to_describe(&self, action: &str) -> Option<Answer> {
        let ec2 = &self.ec2.0.ec2;
        let ours = || tags::with(tags::MANAGED_BY, tags::MANAGER);
        let of_type = || tags::filter("instance-type", [self.ec2.0.config.machine_type.as_str()]);
        Some(match action {
            "ec2:DescribeInstances" => {
                self.answer(action, ec2.describe_instances().dry_run(true).send().await)
            }
            "ec2:DescribeImages" => self.answer(
                action,
                ec2.describe_images().owners("self").filters(ours()).dry_run(true).send().await,
            ),
            "ec2:DescribeSnapshots" => self.answer(
                action,
                ec2.describe_snapshots().owner_ids("self").filters(ours()).dry_run(true).send().await,
            ),
            "ec2:DescribeVolumes" => {
                self.answer(action, ec2.describe_volumes().filters(ours()).dry_run(true).send().await)
            }
            "ec2:DescribeSubnets" => self.answer(action, ec2.describe_subnets().dry_run(true).send().await),
            "ec2:DescribeLaunchTemplateVersions" => match self.ec2.find_template().await {
                Err(error) if is_denied(&error) => Answer::Denied,
                _ => Answer::Allowed,
            },
            "ec2:DescribeAddresses" => {
                self.answer(action, ec2.describe_addresses().dry_run(true).send().await)
            }
            "ec2:DescribeSecurityGroups" => {
                self.answer(action, ec2.describe_security_groups().dry_run(true).send().await)
            }
            "ec2:DescribeRouteTables" => {
                self.answer(action, ec2.describe_route_tables().dry_run(true).send().await)
            }
            "ec2:DescribeVpcs" => self.answer(action, ec2.describe_vpcs().dry_run(true).send().await),
            "ec2:DescribeKeyPairs" => {
                self.answer(action, ec2.describe_key_pairs().dry_run(true).send().await)
            }
            "ec2:DescribeInstanceTypes" => self
                .answer(action, ec2.describe_instance_types().filters(of_type()).dry_run(true).send().await),
            "ec2:DescribeInstanceTypeOfferings" => {
                let call =
                    ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
                self.answer(action, call.filters(of_type()).dry_run(true).send().await)
            }
            _ => return None,
        })
    }

    /// A launch with all that a real one would say, its tags and its instance profile among it.
    async fn ask_to_launch(&self, image: Option<&Bootable>) -> Answer {
        let Some(image) = image else {
            return Answer::Unclear(CloudError::never(
                "There is no image to try a launch with. See what is said of images above.",
            ));
        };
        let placement = match self.ec2.place(None, &image.id, &[]).await {
            Ok(placement) => placement,
            Err(error) => return Answer::Unclear(error),
        };
        let token = hex::encode(rand::random::<[u8; 16]>());
        let tags = self.tags();
        let ask = Ask {
            token: &token,
            image: &image.id,
            user_data: b"#!/bin/sh\n",
            placement: &placement,
            tags: &tags,
        };
        let answer = self.ec2.launch_call(ask).dry_run(true).send().await;
        let Err(error) = answer else { return Answer::Allowed };
        if error.code() == Some("DryRunOperation") {
            if placement.instance_profile.is_some() {
                self.ok("allowed iam:PassRole of the instance profile's role, with a launch");
            }
            return Answer::Allowed;
        }
        let error = self.ec2.explain("RunInstances", error);
        let (what, cure) = parts(&error);
        if !is_denied(&error) {
            self.failed("a launch, tried without launching", &error);
            // That it is refused for another reason says nothing of the permission.
            return Answer::Unclear(error);
        }
        // A launch takes more permissions than its own: it is said which one it was.
        if !what.contains("ec2:RunInstances") {
            self.bad(format!("a launch, tried without launching: {what}"), cure);
        }
        Answer::Denied
    }

    async fn ask_of_machines(&self, action: &str, things: &Things) -> Answer {
        let ec2 = &self.ec2.0.ec2;
        let Some(id) = &things.machine else { return Answer::Untried };
        match action {
            "ec2:StartInstances" => {
                self.answer(action, ec2.start_instances().instance_ids(id).dry_run(true).send().await)
            }
            "ec2:StopInstances" => {
                self.answer(action, ec2.stop_instances().instance_ids(id).dry_run(true).send().await)
            }
            "ec2:RebootInstances" => {
                self.answer(action, ec2.reboot_instances().instance_ids(id).dry_run(true).send().await)
            }
            "ec2:TerminateInstances" => {
                self.answer(action, ec2.terminate_instances().instance_ids(id).dry_run(true).send().await)
            }
            "ec2:GetConsoleOutput" => {
                self.answer(action, ec2.get_console_output().instance_id(id).dry_run(true).send().await)
            }
            "ec2:CreateImage" => {
                let call = ec2.create_image().instance_id(id).name("ec-deployer-doctor").dry_run(true);
                let call = call
                    .tag_specifications(tags::on(ResourceType::Image, &self.tags()))
                    .tag_specifications(tags::on(ResourceType::Snapshot, &self.tags()));
                self.answer(action, call.send().await)
            }
            _ => Answer::Untried,
        }
    }

    async fn ask_of_images(&self, action: &str, things: &Things) -> Answer {
        let ec2 = &self.ec2.0.ec2;
        match (action, &things.image, &things.snapshot) {
            ("ec2:CreateTags", Some(id), _) => {
                let call = ec2.create_tags().resources(id).tags(tags::tag(tags::STATE, tags::GOOD));
                self.answer(action, call.dry_run(true).send().await)
            }
            ("ec2:DeregisterImage", Some(id), _) => {
                self.answer(action, ec2.deregister_image().image_id(id).dry_run(true).send().await)
            }
            ("ec2:DeleteSnapshot", _, Some(id)) => {
                self.answer(action, ec2.delete_snapshot().snapshot_id(id).dry_run(true).send().await)
            }
            _ => Answer::Untried,
        }
    }

    async fn ask_of_addresses(&self, action: &str, things: &Things) -> Answer {
        let ec2 = &self.ec2.0.ec2;
        match (action, &things.address, &things.machine, &things.association) {
            ("ec2:AssociateAddress", Some(id), Some(machine), _) => {
                let call = ec2.associate_address().allocation_id(id).instance_id(machine).dry_run(true);
                self.answer(action, call.send().await)
            }
            ("ec2:DisassociateAddress", _, _, Some(id)) => {
                self.answer(action, ec2.disassociate_address().association_id(id).dry_run(true).send().await)
            }
            ("ec2:ReleaseAddress", Some(id), _, _) => {
                self.answer(action, ec2.release_address().allocation_id(id).dry_run(true).send().await)
            }
            _ => Answer::Untried,
        }
    }

    /// What AWS's answer says of a permission.
    fn answer<T, E>(&self, action: &str, answer: Result<T, SdkError<E, HttpResponse>>) -> Answer
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let Err(error) = answer else { return Answer::Allowed };
        if error.code() == Some("DryRunOperation") {
            return Answer::Allowed;
        }
        let service = if action.starts_with("ssm:") { "ssm" } else { "ec2" };
        // The name of the action is known here, and need not be told.
        let error = self.explain(service, "the request", error);
        if is_denied(&error) { Answer::Denied } else { Answer::Unclear(error) }
    }

    /// The tags that all has that this site makes.
    fn tags(&self) -> Vec<Tag> {
        let site = &self.ec2.0.config.site;
        let site = if site.is_empty() { "doctor" } else { site };
        vec![
            tags::tag(tags::NAME, "doctor"),
            tags::tag(tags::MANAGED_BY, tags::MANAGER),
            tags::tag(tags::SITE, site),
        ]
    }

    /// What there is to try permissions on. What cannot be looked for is taken for not there: that is told with the
    /// permission to look.
    async fn things(&self) -> Things {
        let ec2 = &self.ec2.0.ec2;
        let ours = || tags::with(tags::MANAGED_BY, tags::MANAGER);
        let there = tags::filter("instance-state-name", ["pending", "running", "stopping", "stopped"]);
        let machine = self.ec2.describe(vec![ours(), there]).await.unwrap_or_default();
        let image = self.ec2.describe_images(vec![ours()]).await.unwrap_or_default();
        let snapshots = ec2.describe_snapshots().owner_ids("self").filters(ours()).send().await;
        let snapshot = snapshots.ok().and_then(|found| found.snapshots?.into_iter().next()?.snapshot_id);
        let volumes = ec2.describe_volumes().filters(ours()).send().await;
        let volume = volumes.ok().and_then(|found| found.volumes?.into_iter().next()?.volume_id);
        let addresses = ec2.describe_addresses().filters(ours()).send().await;
        let addresses = addresses.ok().and_then(|found| found.addresses).unwrap_or_default();
        Things {
            machine: machine.into_iter().find_map(|machine| machine.instance_id),
            image: image.into_iter().find_map(|image| image.image_id),
            snapshot,
            volume,
            address: addresses.iter().find_map(|address| address.allocation_id.clone()),
            association: addresses.into_iter().find_map(|address| address.association_id),
        }
    }

    /// What there was nothing to try on, by IAM's simulation; what that does not tell is not known.
    async fn simulated(&self, caller: &Caller, untried: Vec<(&'static str, Need)>) {
        if untried.is_empty() {
            return;
        }
        let names: Vec<_> = untried.iter().map(|(action, _)| *action).collect();
        let Some(denied) = self.simulate(caller, &names).await else {
            return self.warn(
                format!(
                    "whether this site is allowed {} is not known: AWS says so of a thing that is there only, and of scripts never",
                    listed(&names)
                ),
                "compare the site's IAM policy with infra/policy.json; or allow it iam:SimulatePrincipalPolicy on itself, and run this again",
            );
        };
        for (action, need) in untried {
            if denied.contains(&action) {
                self.denied(action, need);
            } else {
                self.ok(format!("allowed {action}, as IAM simulates it"));
            }
        }
    }

    /// Which of these actions are not allowed on things with our tag; none where it cannot be said.
    /// <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>
    async fn simulate<'n>(&self, caller: &Caller, names: &[&'n str]) -> Option<Vec<&'n str>> {
        let (partition, principal) = principal(&caller.arn)?;
        let mut denied = Vec::new();
        for kind in Kind::ALL {
            let of: Vec<_> = names.iter().copied().filter(|name| Kind::of(name).contains(&kind)).collect();
            if of.is_empty() {
                continue;
            }
            let call = self
                .ec2
                .0
                .iam
                .simulate_principal_policy()
                .policy_source_arn(&principal)
                .set_action_names(Some(of.iter().map(|name| (*name).to_owned()).collect()))
                .resource_arns(kind.arn(partition, self.ec2.region(), &caller.account))
                .set_context_entries(Some(context(self.ec2.region())));
            let told = match call.send().await {
                Ok(told) => told.evaluation_results.unwrap_or_default(),
                Err(error) => {
                    let error = self.explain("iam", "SimulatePrincipalPolicy", error);
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "permissions cannot be simulated"
                    );
                    return None;
                }
            };
            for name in of {
                let told = told.iter().find(|told| told.eval_action_name == name)?;
                if told.eval_decision != PolicyEvaluationDecisionType::Allowed {
                    denied.push(name);
                }
            }
        }
        Some(denied)
    }
}

/// What Systems Manager answers, once it is allowed, of a command that is not there.
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html>
const NO_SUCH: [&str; 3] = ["InvocationDoesNotExist", "InvalidCommandId", "InvalidInstanceId"];
/// An id of the right form that no command has.
const NO_COMMAND: &str = "00000000-0000-0000-0000-000000000000";
/// An id of the right form that no machine has.
const NO_MACHINE: &str = "i-00000000000000000";

/// What policies may be conditioned on, as it is where this site does something: the thing carries our tag, and what
/// is made gets it.
fn context(region: &str) -> Vec<ContextEntry> {
    let manager = tags::MANAGER;
    [
        ("aws:ResourceTag/ManagedBy", manager),
        ("ec2:ResourceTag/ManagedBy", manager),
        ("ssm:resourceTag/ManagedBy", manager),
        ("aws:RequestTag/ManagedBy", manager),
        ("aws:RequestTag/ec-deployer:site", "doctor"),
        ("aws:TagKeys", tags::STATE),
        ("aws:RequestedRegion", region),
    ]
    .into_iter()
    .map(|(key, value)| {
        let kind =
            if key == "aws:TagKeys" { ContextKeyTypeEnum::StringList } else { ContextKeyTypeEnum::String };
        ContextEntry::builder().context_key_name(key).context_key_values(value).context_key_type(kind).build()
    })
    .collect()
}

/// The partition, and the user or role whose policies a caller has: `arn:aws:sts::1:assumed-role/site/i-0abc` has
/// those of `arn:aws:iam::1:role/site`. A role's path is not told.
fn principal(arn: &str) -> Option<(&str, String)> {
    let [_, partition, service, _, account, who] = arn.splitn(6, ':').collect::<Vec<_>>()[..] else {
        return None;
    };
    match (service, who.split_once('/')) {
        ("iam", Some(("user", _))) => Some((partition, arn.to_owned())),
        ("sts", Some(("assumed-role", of))) => {
            let role = of.split('/').next().unwrap_or_default();
            Some((partition, format!("arn:{partition}:iam::{account}:role/{role}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assumed_role_has_the_policies_of_the_role() {
        let of = |arn| principal(arn).map(|(_, principal)| principal);
        assert_eq!(
            of("arn:aws:sts::1:assumed-role/site/i-0abc").as_deref(),
            Some("arn:aws:iam::1:role/site")
        );
        assert_eq!(of("arn:aws:iam::1:user/site").as_deref(), Some("arn:aws:iam::1:user/site"));
        assert_eq!(of("arn:aws:iam::1:root"), None);
        assert_eq!(of("nonsense"), None);
    }
}
