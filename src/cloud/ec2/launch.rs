//! Launching exactly once: the saved request, its token, and what a refusal means when the same request may have
//! gone through before.

use aws_sdk_ec2::{
    operation::run_instances::builders::RunInstancesFluentBuilder,
    types::{
        BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification, Instance,
        InstanceMetadataEndpointState, InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification,
        InstanceType, LaunchTemplateSpecification, ResourceType, ShutdownBehavior, Tag, VolumeType,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Ec2, observe, tags};
use crate::{
    cloud::{CloudError, LaunchRequest, Machine, MachineState, Placement, Retry},
    domain::Timestamp,
};

/// Seconds after a request was sent in which EC2 may not show yet what came of it.
/// <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html> names no bound; minutes are seen.
const CONSISTENT: i64 = 180;
/// Seconds after which a request that was sent cannot be on its way any more, and what it made is shown.
const SETTLED: i64 = 3600;

impl Ec2 {
    /// Launches a machine, or gives the one that this token launched already. `before` says when the same request
    /// was last sent, where it is not known what came of that.
    ///
    /// # Errors
    /// [`Retry::Later`] where it is not known whether a machine came of it: repeat the same request. A refusal of a
    /// repeated request is believed only once EC2 would show what an earlier one made.
    pub async fn launch(
        &self,
        request: &LaunchRequest,
        before: Option<Timestamp>,
    ) -> Result<Machine, CloudError> {
        let placement = request.placement.as_ref().ok_or_else(|| {
            CloudError::never("This launch was asked of another cloud. Choose Try again: it asks anew.")
        })?;
        let (token, tags) = (request.token.as_str(), tags::of(request));
        let (image, user_data) = (request.image.as_str(), request.user_data.as_slice());
        let refusal = match self.run_instances(Ask { token, image, user_data, placement, tags: &tags }).await
        {
            Ok(machine) => return Ok(machine),
            Err(error) if error.retry == Retry::Later => return Err(error),
            Err(error) => error,
        };
        let Some(last) = before else { return Err(refusal) };
        // Not being allowed to look says nothing of what there is.
        let shown = self
            .of_token(&request.token)
            .await
            .map_err(|error| CloudError { retry: Retry::Later, ..error })?;
        match shown.as_ref().and_then(observe::machine) {
            Some(machine) => Ok(machine),
            None if Timestamp::now() < last.plus_seconds(CONSISTENT) => {
                Err(CloudError { retry: Retry::Later, ..refusal })
            }
            None => Err(refusal),
        }
    }

    /// What came of a launch of which it is not known: its machine, to be terminated, or none. While that is not
    /// known the same request is the question: EC2 answers it with the machine that it made.
    ///
    /// # Errors
    /// Where it still cannot be told; repeat the call.
    pub async fn abandon(
        &self,
        request: &LaunchRequest,
        sent_at: Timestamp,
    ) -> Result<Option<Machine>, CloudError> {
        if let Some(machine) = self.of_token(&request.token).await?.as_ref().and_then(observe::machine) {
            let is_gone = machine.state == MachineState::Terminated;
            return Ok((!is_gone).then_some(machine));
        }
        if Timestamp::now() > sent_at.plus_seconds(SETTLED) {
            return Ok(None);
        }
        match self.launch(request, Some(sent_at)).await {
            Ok(machine) => Ok(Some(machine)),
            Err(error) if error.retry == Retry::Later => Err(error),
            Err(refusal) => {
                tracing::info!(
                    token = request.token,
                    error = &refusal as &dyn std::error::Error,
                    "nothing came of a launch"
                );
                Ok(None)
            }
        }
    }

    /// The launch itself: one machine, all of its tags and options in the same call.
    pub(super) async fn run_instances(&self, ask: Ask<'_>) -> Result<Machine, CloudError> {
        let call = self.launch_call(ask);
        self.0.launches.turn().await;
        let answer = call.customize().config_override(Self::once()).send().await;
        let answer = answer.map_err(|error| self.explain("RunInstances", error))?;
        let made: Vec<Instance> = answer.instances.unwrap_or_default();
        // An answer without a machine says nothing of whether there is one.
        let machine = made.first().and_then(observe::machine);
        machine.ok_or_else(|| CloudError::later("AWS answered the launch without a machine."))
    }

    /// The request of a launch, as it is sent, and as it is only tried by the look at the account.
    pub(super) fn launch_call(&self, ask: Ask<'_>) -> RunInstancesFluentBuilder {
        let Ask { placement, .. } = ask;
        let mut call = self
            .0
            .ec2
            .run_instances()
            .client_token(ask.token)
            .image_id(ask.image)
            .instance_type(InstanceType::from(placement.machine_type.as_str()))
            .min_count(1)
            .max_count(1)
            .user_data(STANDARD.encode(ask.user_data))
            .instance_initiated_shutdown_behavior(ShutdownBehavior::Stop)
            .metadata_options(metadata())
            .block_device_mappings(disk(placement))
            .tag_specifications(tags::on(ResourceType::Instance, ask.tags))
            .tag_specifications(tags::on(ResourceType::Volume, ask.tags))
            .set_key_name(placement.key_pair.clone());
        let groups = (!placement.security_groups.is_empty()).then(|| placement.security_groups.clone());
        call = if placement.own_interface {
            call.network_interfaces(interface(placement, groups))
        } else {
            call.subnet_id(&placement.subnet).set_security_group_ids(groups)
        };
        if let Some(name) = &placement.instance_profile {
            call = call.iam_instance_profile(IamInstanceProfileSpecification::builder().name(name).build());
        }
        if let Some((id, version)) = &placement.launch_template {
            call = call.launch_template(
                LaunchTemplateSpecification::builder().launch_template_id(id).version(version).build(),
            );
        }
        call
    }
}

/// A launch, whether of an instance's machine or of a builder.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    /// The client token: the same token is the same machine.
    pub token: &'a str,
    /// The id of the image.
    pub image: &'a str,
    /// The user data's bytes, at most 16 KB.
    pub user_data: &'a [u8],
    /// On what and where it is to run.
    pub placement: &'a Placement,
    /// The tags of the machine and of its disks.
    pub tags: &'a [Tag],
}

/// The metadata service answers those alone who show a token, and no further away than the machine itself.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-options.html>
fn metadata() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .build()
}

/// The machine's disk: encrypted, and gone with the machine.
fn disk(placement: &Placement) -> BlockDeviceMapping {
    let volume = EbsBlockDevice::builder()
        .volume_type(VolumeType::Gp3)
        .volume_size(i32::from(placement.disk_gib))
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    BlockDeviceMapping::builder().device_name(&placement.root_device).ebs(volume).build()
}

/// One interface in the placement's subnet, with a public IP whatever the subnet gives by itself.
fn interface(placement: &Placement, groups: Option<Vec<String>>) -> InstanceNetworkInterfaceSpecification {
    InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&placement.subnet)
        .set_groups(groups)
        .associate_public_ip_address(true)
        .delete_on_termination(true)
        .build()
}
