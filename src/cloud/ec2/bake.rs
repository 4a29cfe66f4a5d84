//! A bake on EC2: a builder runs the image script as its user data and powers off, and an image is made of its disk.
//!
//! The builder needs no way back to the site, so that the very first image can be baked before there is one: what
//! the script tells is read off the console, and its last mark there says that all went well. Whatever fails, the
//! builder is terminated and a half image deregistered; where the site is killed, by the next `prepare`.

use std::time::Duration;

use aws_sdk_ec2::types::{Image, ImageState, InstanceStateName, ResourceType};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};

use super::{Ec2, console::Console, launch::Ask, power::is_gone, tags};
use crate::{
    cloud::{BakeSpec, Baked, CloudError, Retry},
    domain::{ImageId, InstanceId},
};

/// How long the image script may take: some minutes as a rule.
const SCRIPT: Duration = Duration::from_secs(60 * 60);
/// How long after the builder's end its console may take to arrive.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-console.html>
const CONSOLE: Duration = Duration::from_secs(5 * 60);
/// How long AWS may take to make an image of a disk.
const IMAGE: Duration = Duration::from_secs(60 * 60);
/// Pauses between two looks: short at first, so that what is quick is not waited for.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(5)];

impl Ec2 {
    /// Bakes a golden image.
    ///
    /// # Errors
    /// Where the builder cannot be launched, its script fails or leaves no mark, or AWS makes no image of it.
    pub async fn bake(&self, spec: BakeSpec, log: mpsc::Sender<Vec<u8>>) -> Result<Baked, CloudError> {
        let result = self.build(&spec, &log).await;
        // The builder is of no use any more, the image only where it is complete.
        let cleared = self.clear(Some(spec.image), result.is_ok()).await;
        if let Err(error) = cleared {
            // The next `prepare` ends it.
            tracing::warn!(error = &error as &dyn std::error::Error, "what a bake left was not ended");
        }
        result
    }

    async fn build(&self, spec: &BakeSpec, log: &mpsc::Sender<Vec<u8>>) -> Result<Baked, CloudError> {
        let base = self.base_image().await?;
        let builder = self.launch_builder(spec, &base).await?;
        self.watch(&builder, log).await?;
        let id = self.create_image(&builder, spec.image).await?;
        let image = self.until_available(&id).await?;
        let base = self.image(&base).await?.name;
        let gib: i64 = image
            .block_device_mappings()
            .iter()
            .filter_map(|disk| disk.ebs()?.volume_size())
            .map(i64::from)
            .sum();
        // The last thing: what is complete is never cleared away.
        self.complete(&image).await?;
        Ok(Baked { cloud_ref: id, base, size: u64::try_from(gib << 30).unwrap_or_default() })
    }

    /// Launches the builder; where the first subnet has no room, in the next. A lost reply is asked for again by
    /// the same token.
    async fn launch_builder(&self, spec: &BakeSpec, base: &str) -> Result<InstanceId, CloudError> {
        let site = &self.0.config.site;
        let number = spec.image.to_string();
        let tags = [
            tags::tag(tags::NAME, &format!("golden image {number}: builder")),
            tags::tag(tags::MANAGED_BY, tags::MANAGER),
            tags::tag(tags::SITE, site),
            tags::tag(tags::BAKE, &number),
        ];
        let mut avoided = Vec::new();
        let mut tries = 0;
        loop {
            let mut placement = self.place(None, base, &avoided).await?;
            // What runs there needs no permission of AWS's.
            placement.instance_profile = None;
            placement.disk_gib = self.image(base).await?.gib.max(8);
            let token = format!("bake-{site}-{number}-{}", avoided.len());
            let ask = Ask {
                token: &token,
                image: base,
                user_data: &spec.script,
                placement: &placement,
                tags: &tags,
            };
            match self.run_instances(ask).await {
                Ok(machine) => return Ok(machine.id),
                Err(error) if error.retry == Retry::Elsewhere => avoided.push(placement.subnet),
                Err(error) if error.retry == Retry::Later && tries < 5 => {
                    tries += 1;
                    sleep(Duration::from_secs(1 << tries)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells what the builder says until it has powered off, and looks for its last mark.
    async fn watch(&self, builder: &InstanceId, log: &mpsc::Sender<Vec<u8>>) -> Result<(), CloudError> {
        let began = Instant::now();
        let mut console = Console::default();
        let mut off: Option<Instant> = None;
        for pause in pauses() {
            sleep(pause).await;
            // A console that cannot be read now can be a moment later.
            if let Ok(text) = self.console(builder).await {
                let news = console.read(&text);
                if !news.is_empty() {
                    // Nobody listens any more where the site ends; the builder's end matters all the same.
                    let _ = log.send(news).await;
                }
            }
            let found = self.describe(vec![tags::filter("instance-id", [builder.as_str()])]).await;
            let state = match found.as_deref() {
                Ok([machine, ..]) => machine.state().and_then(|state| state.name()).cloned(),
                Ok([]) | Err(_) => None,
            };
            match state {
                Some(InstanceStateName::Stopped) => off = off.or(Some(Instant::now())),
                Some(InstanceStateName::Terminated | InstanceStateName::ShuttingDown) => {
                    return Err(CloudError::never("The builder was terminated while it made the image."));
                }
                _ => off = None,
            }
            if off.is_some() && console.done() {
                return Ok(());
            }
            if let Some(step) = console.failed().filter(|_| off.is_some()) {
                return Err(CloudError::never(format!(
                    "The step {step} of the bake failed; its log says why."
                )));
            }
            if off.is_some_and(|since| since.elapsed() > CONSOLE) {
                return Err(CloudError::never(
                    "The builder powered off without the last mark in its console: the image script did not come to its end.",
                ));
            }
            if began.elapsed() > SCRIPT {
                return Err(CloudError::never("The bake did not end within an hour."));
            }
        }
        Ok(())
    }

    /// Has an image made of the builder's disk. Where the reply is lost the image is found by its tag.
    async fn create_image(&self, builder: &InstanceId, number: ImageId) -> Result<String, CloudError> {
        let (site, number) = (&self.0.config.site, number.to_string());
        let tags = [
            tags::tag(tags::NAME, &format!("golden image {number}")),
            tags::tag(tags::MANAGED_BY, tags::MANAGER),
            tags::tag(tags::SITE, site),
            tags::tag(tags::IMAGE, &number),
            tags::tag(tags::STATE, tags::BAKING),
        ];
        let call = self
            .0
            .ec2
            .create_image()
            .instance_id(builder.as_str())
            .name(format!("ec-deployer-{site}-{number}"))
            .description("Golden image of EC Django Deployer")
            .tag_specifications(tags::on(ResourceType::Image, &tags))
            .tag_specifications(tags::on(ResourceType::Snapshot, &tags));
        let answer = call.customize().config_override(Self::once()).send().await;
        let error = match answer {
            Ok(made) => match made.image_id {
                Some(id) => return Ok(id),
                None => CloudError::later("AWS answered without the image's id."),
            },
            Err(error) => self.explain("CreateImage", error),
        };
        for pause in PAUSES {
            sleep(pause).await;
            let half = tags::with(tags::STATE, tags::BAKING);
            let there =
                self.describe_images(vec![self.ours(), tags::with(tags::IMAGE, &number), half]).await?;
            if let Some(id) = there.into_iter().find_map(|image| image.image_id) {
                return Ok(id);
            }
        }
        Err(error)
    }

    async fn until_available(&self, id: &str) -> Result<Image, CloudError> {
        let began = Instant::now();
        for pause in pauses() {
            let found = self.describe_images(vec![tags::filter("image-id", [id])]).await;
            let image = match found {
                Ok(found) => found.into_iter().next(),
                Err(error) if error.retry == Retry::Later => None,
                Err(error) => return Err(error),
            };
            match image {
                Some(image) if image.state() == Some(&ImageState::Available) => return Ok(image),
                Some(image)
                    if matches!(
                        image.state(),
                        Some(ImageState::Failed | ImageState::Error | ImageState::Invalid)
                    ) =>
                {
                    let why =
                        image.state_reason().and_then(|why| why.message()).unwrap_or("no reason is given");
                    return Err(CloudError::never(format!("AWS could not make the image: {why}.")));
                }
                _ if began.elapsed() > IMAGE => {
                    return Err(CloudError::never("AWS did not complete the image within an hour."));
                }
                _ => sleep(pause).await,
            }
        }
        Err(CloudError::never("The image is not there."))
    }

    /// Marks an image as one to boot from: the last thing that is done about it.
    async fn complete(&self, image: &Image) -> Result<(), CloudError> {
        let id = image.image_id().unwrap_or_default();
        let call = self.0.ec2.create_tags().resources(id).tags(tags::tag(tags::STATE, tags::GOOD));
        call.send().await.map(drop).map_err(|error| self.explain("CreateTags", error))
    }

    /// Ends the builders of interrupted bakes, and what images they left half made.
    pub(super) async fn clear_bakes(&self) -> Result<(), CloudError> {
        self.clear(None, false).await
    }

    /// Ends the builders of one bake, or of every one, and deregisters what is no complete image, or was none when
    /// its bake failed.
    async fn clear(&self, number: Option<ImageId>, complete: bool) -> Result<(), CloudError> {
        let number = number.map(|id| id.to_string());
        let builders = match &number {
            Some(number) => tags::with(tags::BAKE, number),
            None => tags::filter("tag-key", [tags::BAKE]),
        };
        for builder in self.describe(vec![self.ours(), builders]).await? {
            if let Some(id) = builder.instance_id().filter(|_| !is_gone(&builder)) {
                self.end(id).await?;
            }
        }
        if complete {
            return Ok(());
        }
        // Never a complete one: of an older database's number there may be another's.
        let mut halves = vec![self.ours(), tags::with(tags::STATE, tags::BAKING)];
        halves.extend(number.map(|number| tags::with(tags::IMAGE, &number)));
        for half in self.describe_images(halves).await? {
            self.scrap(&half).await?;
        }
        Ok(())
    }
}

/// Pauses without end, the last of them again and again.
fn pauses() -> impl Iterator<Item = Duration> {
    PAUSES.into_iter().chain(std::iter::repeat(PAUSES[PAUSES.len() - 1]))
}
