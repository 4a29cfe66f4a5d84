//! Golden images in the account: what is there, and how it goes again.

use aws_sdk_ec2::types::{Filter, Image, ImageState};

use super::{Ec2, errors::code, tags};
use crate::cloud::{CloudError, GivenImage};

/// What a launch has to know of an image.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// What it is called.
    pub name: String,
    /// The name of its root device.
    pub root_device: String,
    /// The size of its disk, in GiB.
    pub gib: u16,
}

impl Ec2 {
    /// The image that the settings or the launch template give: then none is baked.
    ///
    /// # Errors
    /// Where the launch template cannot be looked up, or the image is not there.
    pub async fn given_image(&self) -> Result<Option<GivenImage>, CloudError> {
        let of_template = self.find_template().await?.and_then(|template| template.image);
        let Some(id) = self.0.config.golden_ami.clone().or(of_template) else { return Ok(None) };
        let found = self.image(&id).await?;
        let size = u64::from(found.gib) << 30;
        Ok(Some(GivenImage { cloud_ref: id, base: found.name, size }))
    }

    /// The ids of this site's complete images.
    ///
    /// # Errors
    /// Where EC2 cannot say.
    pub async fn images(&self) -> Result<Vec<String>, CloudError> {
        let found = self.describe_images(vec![self.ours(), tags::with(tags::STATE, tags::GOOD)]).await?;
        let available = found.into_iter().filter(|image| image.state() == Some(&ImageState::Available));
        Ok(available.filter_map(|image| image.image_id).collect())
    }

    /// Deregisters an image of this site and deletes its snapshots; one that is gone already is no error.
    ///
    /// # Errors
    /// [`Retry::Never`](crate::cloud::Retry::Never) where it is not this site's, or AWS refuses.
    pub async fn delete_image(&self, id: &str) -> Result<(), CloudError> {
        let found = self.describe_images(vec![tags::filter("image-id", [id])]).await?;
        if self.0.config.golden_ami.as_deref() == Some(id) {
            return Err(CloudError::never("GOLDEN_AMI names this image: instances boot from it."));
        }
        match found.first() {
            None => Ok(()),
            Some(image) if !self.is_ours(image.tags()) => Err(CloudError::never(format!(
                "The image {id} does not carry this site's tag, so that it is not deleted from here."
            ))),
            Some(image) => self.scrap(image).await,
        }
    }

    /// An image's name and disk.
    pub(super) async fn image(&self, id: &str) -> Result<Found, CloudError> {
        let answer = self.0.ec2.describe_images().image_ids(id).send().await;
        let answer = answer.map_err(|error| self.explain("DescribeImages", error))?;
        let image = answer.images.unwrap_or_default().into_iter().next().ok_or_else(|| {
            CloudError::never(format!(
                "The image {id} is not in {}: correct GOLDEN_AMI or BASE_AMI.",
                self.region()
            ))
        })?;
        let root_device = image.root_device_name.clone().unwrap_or_else(|| "/dev/sda1".to_owned());
        let disk = image
            .block_device_mappings()
            .iter()
            .find(|disk| disk.device_name() == Some(root_device.as_str()))
            .and_then(|disk| disk.ebs()?.volume_size());
        let gib = disk.and_then(|size| u16::try_from(size).ok()).unwrap_or(8);
        let name = image.name.or(image.description).unwrap_or_else(|| id.to_owned());
        Ok(Found { name, root_device, gib })
    }

    pub(super) async fn describe_images(&self, filters: Vec<Filter>) -> Result<Vec<Image>, CloudError> {
        let answer = self.0.ec2.describe_images().owners("self").set_filters(Some(filters)).send().await;
        let answer = answer.map_err(|error| self.explain("DescribeImages", error))?;
        Ok(answer.images.unwrap_or_default())
    }

    /// Deregisters an image that is known to be this site's and deletes its snapshots.
    pub(super) async fn scrap(&self, image: &Image) -> Result<(), CloudError> {
        let Some(id) = image.image_id() else { return Ok(()) };
        match self.0.ec2.deregister_image().image_id(id).send().await {
            Ok(_) => {}
            Err(error)
                if matches!(code(&error), Some("InvalidAMIID.NotFound" | "InvalidAMIID.Unavailable")) => {}
            Err(error) => return Err(self.explain("DeregisterImage", error)),
        }
        let disks = image.block_device_mappings().iter();
        for snapshot in disks.filter_map(|disk| disk.ebs()?.snapshot_id()) {
            self.delete_snapshot(snapshot).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_snapshot(&self, id: &str) -> Result<(), CloudError> {
        match self.0.ec2.delete_snapshot().snapshot_id(id).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("InvalidSnapshot.NotFound") => Ok(()),
            // Somebody has registered an image of it besides: it is theirs to keep.
            Err(error) if code(&error) == Some("InvalidSnapshot.InUse") => {
                tracing::warn!(snapshot = id, "a snapshot is kept, since another image has it");
                Ok(())
            }
            Err(error) => Err(self.explain("DeleteSnapshot", error)),
        }
    }
}
