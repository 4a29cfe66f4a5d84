//! All that carries this site's tag in the account, in one request for each kind of thing and 1,000 of it, and how one
//! such thing goes again.

use std::{collections::HashMap, net::IpAddr};

use aws_sdk_ec2::types::{
    Address, Image, ImageState, Instance, Snapshot, SnapshotState, Tag, Volume, VolumeState,
};
use aws_smithy_types::DateTime;

use super::{Ec2, errors::code, power::is_gone, tags};
use crate::{
    cloud::CloudError,
    domain::{AVAILABLE, Holding, HoldingKind, ImageId, Timestamp},
};

/// Things in one page of a listing, the most that EC2 gives of each.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVolumes.html>
const PAGE: i32 = 1000;

impl Ec2 {
    /// Everything with this site's tag: machines that are not gone, images, Elastic IPs, volumes, and the snapshots of
    /// images. Backups of machines, which other services make with the machines' tags, are not told of: whoever made
    /// those keeps an account of them.
    ///
    /// # Errors
    /// Where EC2 cannot say.
    pub async fn inventory(&self) -> Result<Vec<Holding>, CloudError> {
        let volumes = self.volumes().await?;
        let mut disks = HashMap::<&str, u32>::new();
        for volume in &volumes {
            let gib = volume.size().and_then(|gib| u32::try_from(gib).ok()).unwrap_or_default();
            for held in volume.attachments().iter().filter_map(|held| held.instance_id()) {
                *disks.entry(held).or_default() += gib;
            }
        }
        let mut found = Vec::new();
        let machines = self.describe(vec![self.ours()]).await?;
        found.extend(machines.iter().filter(|machine| !is_gone(machine)).filter_map(|told| {
            let machine = machine(told)?;
            let gib = disks.get(machine.id.as_str()).copied();
            Some(Holding { gib, ..machine })
        }));
        let images = self.describe_images(vec![self.ours()]).await?;
        let mut of_images = HashMap::<&str, &str>::new();
        for image in &images {
            let snapshots = image.block_device_mappings().iter().filter_map(|disk| disk.ebs()?.snapshot_id());
            of_images.extend(snapshots.filter_map(|snapshot| Some((snapshot, image.image_id()?))));
        }
        found.extend(images.iter().filter_map(image));
        found.extend(self.elastic_ips().await?.iter().filter_map(address));
        found.extend(volumes.iter().filter_map(volume));
        found.extend(self.snapshots().await?.iter().filter_map(|told| {
            let snapshot = snapshot(told)?;
            let holder = of_images.get(snapshot.id.as_str()).map(|image| (*image).to_owned());
            Some(Holding { holder, ..snapshot })
        }));
        Ok(found)
    }

    /// Ends a thing of the inventory, and it alone: it must carry this site's tag at this moment. One that is gone
    /// already is no error.
    ///
    /// # Errors
    /// Where it does not carry the tag, or EC2 refuses.
    pub async fn discard(&self, kind: HoldingKind, id: &str) -> Result<(), CloudError> {
        match kind {
            HoldingKind::Machine => {
                for machine in self.describe(vec![tags::filter("instance-id", [id])]).await? {
                    self.check_ours(kind, id, machine.tags())?;
                    self.end(id).await?;
                }
            }
            // It looks at the tag itself.
            HoldingKind::Image => self.delete_image(id).await?,
            HoldingKind::Address => {
                let call = self.0.ec2.describe_addresses().filters(tags::filter("allocation-id", [id]));
                let answer = call.send().await.map_err(|error| self.explain("DescribeAddresses", error))?;
                for address in answer.addresses() {
                    self.check_ours(kind, id, address.tags())?;
                    self.release(address).await?;
                }
            }
            HoldingKind::Volume => {
                let call = self.0.ec2.describe_volumes().filters(tags::filter("volume-id", [id]));
                let answer = call.send().await.map_err(|error| self.explain("DescribeVolumes", error))?;
                for volume in answer.volumes() {
                    self.check_ours(kind, id, volume.tags())?;
                    self.delete_volume(id).await?;
                }
            }
            HoldingKind::Snapshot => {
                let call = self.0.ec2.describe_snapshots().owner_ids("self");
                let call = call.filters(tags::filter("snapshot-id", [id]));
                let answer = call.send().await.map_err(|error| self.explain("DescribeSnapshots", error))?;
                for snapshot in answer.snapshots() {
                    self.check_ours(kind, id, snapshot.tags())?;
                    self.delete_snapshot(id).await?;
                }
            }
        }
        Ok(())
    }

    /// Refuses what does not carry this site's tag.
    fn check_ours(&self, kind: HoldingKind, id: &str, told: &[Tag]) -> Result<(), CloudError> {
        if self.is_ours(told) {
            return Ok(());
        }
        Err(CloudError::never(format!(
            "The {} {id} does not carry this site's tag {} = {}, so that nothing is done about it from here.",
            kind.name(),
            tags::SITE,
            self.0.config.site
        )))
    }

    async fn delete_volume(&self, id: &str) -> Result<(), CloudError> {
        match self.0.ec2.delete_volume().volume_id(id).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("InvalidVolume.NotFound") => Ok(()),
            Err(error) if code(&error) == Some("VolumeInUse") => Err(CloudError::never(format!(
                "The volume {id} is attached to a machine: detach it in AWS's console first."
            ))
            .because(error)),
            Err(error) => Err(self.explain("DeleteVolume", error)),
        }
    }

    async fn volumes(&self) -> Result<Vec<Volume>, CloudError> {
        let call = self.0.ec2.describe_volumes().filters(self.ours()).max_results(PAGE);
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.explain("DescribeVolumes", error))?;
            found.extend(page.volumes.unwrap_or_default());
        }
        Ok(found)
    }

    /// The snapshots that golden images were made of.
    async fn snapshots(&self) -> Result<Vec<Snapshot>, CloudError> {
        let call = self.0.ec2.describe_snapshots().owner_ids("self").filters(self.ours());
        let call = call.filters(tags::filter("tag-key", [tags::IMAGE])).max_results(PAGE);
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.explain("DescribeSnapshots", error))?;
            found.extend(page.snapshots.unwrap_or_default());
        }
        Ok(found)
    }

    /// All of them at once: EC2 has no pages of these.
    async fn elastic_ips(&self) -> Result<Vec<Address>, CloudError> {
        let answer = self.0.ec2.describe_addresses().filters(self.ours()).send().await;
        let answer = answer.map_err(|error| self.explain("DescribeAddresses", error))?;
        Ok(answer.addresses.unwrap_or_default())
    }
}

/// A thing with what its tags say.
fn tagged(kind: HoldingKind, id: Option<&str>, state: &str, told: &[Tag]) -> Option<Holding> {
    let tag = |key| tags::value(told, key).filter(|value| !value.is_empty()).map(str::to_owned);
    let number = tag(tags::IMAGE).or_else(|| tag(tags::BAKE)).and_then(|number| number.parse().ok());
    Some(Holding {
        name: tag(tags::INSTANCE).or_else(|| tag(tags::NAME)),
        token: tag(tags::TOKEN),
        number: number.map(ImageId),
        ..Holding::new(kind, id?, state)
    })
}

fn at(time: Option<&DateTime>) -> Option<Timestamp> {
    time?.to_millis().ok().map(Timestamp)
}

fn gib(size: Option<i32>) -> Option<u32> {
    u32::try_from(size?).ok()
}

fn machine(told: &Instance) -> Option<Holding> {
    let state = told.state().and_then(|state| state.name()).map_or("unknown", |name| name.as_str());
    // Each start is a launch in EC2's words; since when its first disk is attached is since when it is there.
    let disks = told.block_device_mappings().iter().filter_map(|disk| at(disk.ebs()?.attach_time()));
    Some(Holding {
        created_at: at(told.launch_time()).into_iter().chain(disks).min(),
        machine_type: told.instance_type().and_then(|kind| kind.as_str().parse().ok()),
        image: told.image_id().map(str::to_owned),
        public_ip: told.public_ip_address().and_then(|ip| ip.parse::<IpAddr>().ok()),
        ..tagged(HoldingKind::Machine, told.instance_id(), state, told.tags())?
    })
}

fn image(told: &Image) -> Option<Holding> {
    let complete = tags::value(told.tags(), tags::STATE) == Some(tags::GOOD);
    let state = match told.state() {
        Some(ImageState::Available) if !complete => "half made",
        Some(ImageState::Available) => AVAILABLE,
        Some(other) => other.as_str(),
        None => "unknown",
    };
    let sizes = told.block_device_mappings().iter().filter_map(|disk| gib(disk.ebs()?.volume_size()));
    let created_at = told
        .creation_date()
        .and_then(|text| DateTime::from_str(text, aws_smithy_types::date_time::Format::DateTime).ok());
    Some(Holding {
        created_at: at(created_at.as_ref()),
        gib: Some(sizes.sum()),
        name: told.name().map(str::to_owned),
        ..tagged(HoldingKind::Image, told.image_id(), state, told.tags())?
    })
}

fn address(told: &Address) -> Option<Holding> {
    let holder = told.instance_id().filter(|id| !id.is_empty()).map(str::to_owned);
    let state = if told.association_id().is_some() { "in use" } else { "idle" };
    Some(Holding {
        holder,
        public_ip: told.public_ip().and_then(|ip| ip.parse().ok()),
        ..tagged(HoldingKind::Address, told.allocation_id(), state, told.tags())?
    })
}

fn volume(told: &Volume) -> Option<Holding> {
    let state = told.state()?;
    if matches!(state, VolumeState::Deleted | VolumeState::Deleting) {
        return None;
    }
    let holder = told.attachments().iter().find_map(|held| held.instance_id());
    Some(Holding {
        created_at: at(told.create_time()),
        gib: gib(told.size()),
        holder: holder.map(str::to_owned),
        ..tagged(HoldingKind::Volume, told.volume_id(), state.as_str(), told.tags())?
    })
}

fn snapshot(told: &Snapshot) -> Option<Holding> {
    let state = told.state().map_or("unknown", SnapshotState::as_str);
    Some(Holding {
        created_at: at(told.start_time()),
        gib: gib(told.volume_size()),
        ..tagged(HoldingKind::Snapshot, told.snapshot_id(), state, told.tags())?
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        EbsInstanceBlockDevice, InstanceBlockDeviceMapping, InstanceState, InstanceStateName, InstanceType,
        VolumeAttachment,
    };

    use super::*;

    #[test]
    fn a_machine_is_there_since_its_disk_is_whatever_it_was_started_last() {
        let disk = EbsInstanceBlockDevice::builder().attach_time(DateTime::from_secs(1_000)).build();
        let told = Instance::builder()
            .instance_id("i-1")
            .image_id("ami-1")
            .instance_type(InstanceType::T3Small)
            .launch_time(DateTime::from_secs(9_000))
            .state(InstanceState::builder().name(InstanceStateName::Running).build())
            .block_device_mappings(InstanceBlockDeviceMapping::builder().ebs(disk).build())
            .tags(tags::tag(tags::INSTANCE, "shop"))
            .tags(tags::tag(tags::NAME, "Mira's shop"))
            .tags(tags::tag(tags::TOKEN, ""))
            .build();
        let machine = machine(&told).unwrap();
        assert_eq!(machine.created_at, Some(Timestamp(1_000_000)));
        assert_eq!((machine.name.as_deref(), machine.token, machine.number), (Some("shop"), None, None));
        assert_eq!((machine.state.as_str(), machine.image.as_deref()), ("running", Some("ami-1")));
        assert_eq!(machine.machine_type, Some("t3.small".parse().unwrap()));
    }

    #[test]
    fn an_image_without_the_mark_of_its_end_is_half_made() {
        let told = Image::builder()
            .image_id("ami-1")
            .state(ImageState::Available)
            .creation_date("2026-11-23T09:41:02.000Z")
            .tags(tags::tag(tags::IMAGE, "7"));
        let half = image(&told.clone().build()).unwrap();
        assert_eq!((half.state.as_str(), half.number), ("half made", Some(ImageId(7))));
        assert_eq!(half.created_at, Some(Timestamp(1_795_426_862_000)));
        let good = told.tags(tags::tag(tags::STATE, tags::GOOD)).build();
        assert_eq!(image(&good).unwrap().state, AVAILABLE);
    }

    #[test]
    fn a_volume_names_its_machine_until_it_goes() {
        let told = Volume::builder()
            .volume_id("vol-1")
            .size(16)
            .attachments(VolumeAttachment::builder().instance_id("i-1").build());
        let there = volume(&told.clone().state(VolumeState::InUse).build()).unwrap();
        assert_eq!(
            (there.gib, there.holder.as_deref(), there.state.as_str()),
            (Some(16), Some("i-1"), "in-use")
        );
        assert_eq!(volume(&told.state(VolumeState::Deleting).build()), None);
    }
}
