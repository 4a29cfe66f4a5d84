//! The image that the next machine boots from, and the types that it can boot on.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Image, ImageState, LocationType};

use super::{Look, listed, network::Network};
use crate::{
    cloud::{CloudError, ec2::tags},
    domain::MachineType,
};

/// An image to launch from.
pub(super) struct Bootable {
    pub id: String,
    /// `x86_64` or `arm64`; empty where it is not known.
    pub architecture: String,
}

impl Look<'_> {
    /// The image that machines boot from, or where there is none yet the one that it is baked on.
    pub async fn image(&self) -> Option<Bootable> {
        let config = &self.ec2.0.config;
        let of_template = match self.ec2.find_template().await {
            Ok(template) => {
                if let Some(named) = &config.launch_template {
                    self.ok(format!("the launch template {named} is there, and its version"));
                }
                template.and_then(|template| template.image)
            }
            Err(error) => {
                self.failed("the launch template of LAUNCH_TEMPLATE", &error);
                None
            }
        };
        let given = config.golden_ami.clone().or(of_template);
        if let Some(id) = given {
            return self.named(&id, "GOLDEN_AMI or the launch template").await;
        }
        if !config.site.is_empty() {
            let mine = vec![self.ec2.ours(), tags::with(tags::STATE, tags::GOOD)];
            match self.ec2.describe_images(mine).await {
                Ok(found) => {
                    let newest = found
                        .into_iter()
                        .filter(|image| image.state() == Some(&ImageState::Available))
                        .max_by(|a, b| a.creation_date().cmp(&b.creation_date()));
                    if let Some(image) = newest {
                        self.ok(format!("the newest golden image of this site is {}", describe(&image)));
                        return Some(bootable(image));
                    }
                }
                Err(error) => self.failed("the golden images of this site", &error),
            }
        }
        match self.ec2.base_image().await {
            Ok(base) => {
                self.ok(format!(
                    "there is no golden image yet: the site bakes one when it starts, on {base}"
                ));
                self.named(&base, "BASE_AMI").await
            }
            Err(error) => {
                self.failed("the image that golden images are baked on", &error);
                None
            }
        }
    }

    /// An image that the settings name.
    async fn named(&self, id: &str, settings: &str) -> Option<Bootable> {
        match self.ask_for(id).await {
            Ok(Some(image)) if image.state() == Some(&ImageState::Available) => {
                self.ok(format!("the image {} is available", describe(&image)));
                Some(bootable(image))
            }
            Ok(Some(image)) => {
                let state = image.state().map_or("of no state", ImageState::as_str);
                self.bad(
                    format!("the image {} is {state}", describe(&image)),
                    format!("wait until it is available, or choose another: {settings}"),
                );
                None
            }
            Ok(None) => {
                self.bad(
                    format!("there is no image {id} in {} that this account may use", self.ec2.region()),
                    format!("correct {settings}; an image is of one region, and may be copied to another"),
                );
                None
            }
            Err(error) => {
                self.failed(&format!("the image {id}"), &error);
                None
            }
        }
    }

    /// A filter says nothing of what is not there, where asking by id would fail.
    async fn ask_for(&self, id: &str) -> Result<Option<Image>, CloudError> {
        let answer = self.ec2.0.ec2.describe_images().filters(tags::filter("image-id", [id])).send().await;
        let answer = answer.map_err(|error| self.ec2.explain("DescribeImages", error))?;
        Ok(answer.images.unwrap_or_default().into_iter().next())
    }

    /// Whether the types of machine are in the region and in the subnets' zones, and fit the image.
    pub async fn machine_types(&self, image: Option<&Bootable>, network: &Network) {
        let config = &self.ec2.0.config;
        let wanted: BTreeSet<&MachineType> =
            config.machine_types.iter().chain([&config.machine_type]).collect();
        let names = || wanted.iter().map(|name| name.as_str());
        let filter = tags::filter("instance-type", names());
        let known = match self.ec2.0.ec2.describe_instance_types().filters(filter.clone()).send().await {
            Ok(answer) => answer.instance_types.unwrap_or_default(),
            Err(error) => {
                let error = self.ec2.explain("DescribeInstanceTypes", error);
                return self.failed("the instance types", &error);
            }
        };
        let call = self.ec2.0.ec2.describe_instance_type_offerings().filters(filter);
        let mut zones: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        match call.location_type(LocationType::AvailabilityZone).send().await {
            Ok(answer) => {
                for offer in answer.instance_type_offerings.unwrap_or_default() {
                    if let (Some(name), Some(zone)) = (offer.instance_type, offer.location) {
                        zones.entry(name.as_str().to_owned()).or_default().insert(zone);
                    }
                }
            }
            Err(error) => {
                let error = self.ec2.explain("DescribeInstanceTypeOfferings", error);
                self.failed("the zones of the instance types", &error);
            }
        }
        let mut fine = Vec::new();
        for name in names() {
            let told =
                known.iter().find(|told| told.instance_type().is_some_and(|told| told.as_str() == name));
            let fits: Vec<_> = told
                .and_then(|told| told.processor_info())
                .map(|processor| {
                    processor.supported_architectures().iter().map(|kind| kind.as_str()).collect()
                })
                .unwrap_or_default();
            let here = zones.get(name).filter(|_| !network.zones().is_empty());
            let problem = if told.is_none() {
                Some(format!("there is no instance type {name} in {}", self.ec2.region()))
            } else if let Some(image) = image.filter(|image| {
                !image.architecture.is_empty()
                    && !fits.is_empty()
                    && !fits.contains(&image.architecture.as_str())
            }) {
                Some(format!(
                    "the instance type {name} is for {}, and the image {} for {}",
                    listed(&fits),
                    image.id,
                    image.architecture
                ))
            } else if here.is_some_and(|here| network.zones().is_disjoint(here)) {
                let of: Vec<_> = network.zones().into_iter().collect();
                Some(format!("the instance type {name} is in no zone of the subnets ({})", listed(&of)))
            } else {
                None
            };
            match problem {
                None => fine.push(name),
                Some(problem) if name == config.machine_type.as_str() => {
                    self.bad(problem, "set INSTANCE_TYPE to another");
                }
                Some(problem) => self.warn(problem, "take it out of INSTANCE_TYPES"),
            }
        }
        if !fine.is_empty() {
            self.ok(format!("machines can be of the instance types {}", listed(&fine)));
        }
    }
}

fn bootable(image: Image) -> Bootable {
    let architecture = image.architecture.map(|kind| kind.as_str().to_owned()).unwrap_or_default();
    Bootable { id: image.image_id.unwrap_or_default(), architecture }
}

/// `ami-0123 (its name, x86_64)`
fn describe(image: &Image) -> String {
    let words = [image.name(), image.architecture().map(|kind| kind.as_str())];
    let words: Vec<_> = words.into_iter().flatten().collect();
    format!("{} ({})", image.image_id().unwrap_or_default(), words.join(", "))
}
