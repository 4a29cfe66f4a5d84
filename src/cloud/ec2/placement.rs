//! On what and where a machine is to run, found once and saved with the request.

use aws_sdk_ec2::types::ResponseLaunchTemplateData;

use super::{Ec2, tags};
use crate::{
    cloud::{CloudError, Placement},
    domain::MachineType,
};

/// What a launch template says, of which this site has to know.
#[derive(Clone, Debug, Default)]
pub(super) struct Template {
    id: String,
    /// The number of the version: `$Default` and `$Latest` may be others at a repetition.
    version: String,
    pub image: Option<String>,
    subnet: Option<String>,
    /// Security groups of the machine itself, beside which EC2 takes no network interface in the request.
    pub groups: Vec<String>,
    /// Those of its first network interface, where it has one.
    pub interface_groups: Option<Vec<String>>,
}

impl Ec2 {
    /// On what and where the next machine is to run: the first subnet that is none of `avoided`.
    ///
    /// # Errors
    /// Where the settings name what EC2 does not have, or every subnet is avoided.
    pub async fn place(
        &self,
        machine_type: Option<&MachineType>,
        image: &str,
        avoided: &[String],
    ) -> Result<Placement, CloudError> {
        let config = &self.0.config;
        let template = self.find_template().await?;
        let image = self.image(image).await?;
        let subnets = self.subnets(template.as_ref()).await?;
        let subnet =
            subnets.iter().find(|subnet| !avoided.contains(subnet)).ok_or_else(|| no_room(avoided.len()))?;
        let mut groups = config.security_groups.clone();
        let mut own_interface = true;
        if let Some(template) = &template {
            own_interface = template.groups.is_empty();
            if groups.is_empty() {
                groups = template.interface_groups.clone().unwrap_or_default();
            }
        }
        Ok(Placement {
            machine_type: machine_type.unwrap_or(&config.machine_type).clone(),
            subnet: subnet.clone(),
            security_groups: groups,
            own_interface,
            instance_profile: config.instance_profile.clone(),
            key_pair: config.key_pair.clone(),
            launch_template: template.map(|template| (template.id, template.version)),
            disk_gib: config.disk_gib.max(image.gib),
            root_device: image.root_device,
        })
    }

    /// Where machines may run: as the settings say, else as the launch template does, else the default VPC's.
    pub(super) async fn subnets(&self, template: Option<&Template>) -> Result<Vec<String>, CloudError> {
        if !self.0.config.subnets.is_empty() {
            return Ok(self.0.config.subnets.clone());
        }
        if let Some(subnet) = template.and_then(|template| template.subnet.clone()) {
            return Ok(vec![subnet]);
        }
        let filter = tags::filter("default-for-az", ["true"]);
        let answer = self.0.ec2.describe_subnets().filters(filter).send().await;
        let answer = answer.map_err(|error| self.explain("DescribeSubnets", error))?;
        let mut found = answer.subnets.unwrap_or_default();
        found.sort_by(|a, b| a.availability_zone.cmp(&b.availability_zone));
        let ids: Vec<_> = found.into_iter().filter_map(|subnet| subnet.subnet_id).collect();
        if ids.is_empty() {
            return Err(CloudError::never(format!(
                "There is no default VPC in {}: set SUBNET_IDS to the subnets that machines are to run in.",
                self.region()
            )));
        }
        Ok(ids)
    }

    /// The launch template of the settings as it is now, where there is one.
    pub(super) async fn find_template(&self) -> Result<Option<Template>, CloudError> {
        match &self.0.config.launch_template {
            Some(named) => self.describe_template(named).await.map(Some),
            None => Ok(None),
        }
    }

    async fn describe_template(&self, named: &str) -> Result<Template, CloudError> {
        let (name, version) = named.split_once(':').unwrap_or((named, "$Default"));
        let mut call = self.0.ec2.describe_launch_template_versions().versions(version);
        call = if name.starts_with("lt-") {
            call.launch_template_id(name)
        } else {
            call.launch_template_name(name)
        };
        let answer =
            call.send().await.map_err(|error| self.explain("DescribeLaunchTemplateVersions", error))?;
        let found = answer.launch_template_versions.unwrap_or_default().into_iter().next();
        let found = found.ok_or_else(|| {
            CloudError::never(format!("The launch template {named} is not in {}.", self.region()))
        })?;
        let id = found.launch_template_id.unwrap_or_default();
        let version = found.version_number.unwrap_or_default().to_string();
        Ok(Template { id, version, ..found.launch_template_data.map(Template::of).unwrap_or_default() })
    }
}

impl Template {
    fn of(data: ResponseLaunchTemplateData) -> Self {
        let interface = data.network_interfaces.unwrap_or_default().into_iter().next();
        let mut groups = data.security_group_ids.unwrap_or_default();
        groups.extend(data.security_groups.unwrap_or_default());
        Self {
            image: data.image_id,
            subnet: interface.as_ref().and_then(|interface| interface.subnet_id.clone()),
            groups,
            interface_groups: interface.and_then(|interface| interface.groups),
            ..Self::default()
        }
    }
}

/// Every subnet was tried.
fn no_room(tried: usize) -> CloudError {
    let zones = if tried == 1 { "the one subnet".to_owned() } else { format!("any of {tried} subnets") };
    CloudError::never(format!(
        "AWS has no room for this instance type in {zones} that machines may run in. Choose another instance type, or Try again later; the site's admin may add a subnet of another zone to SUBNET_IDS."
    ))
}
