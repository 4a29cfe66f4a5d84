//! Where machines run: the same few verbs for every cloud. Only the reconciler calls them.

pub mod detached;
#[cfg(feature = "ec2")]
pub mod ec2;
mod error;
mod finding;
pub mod local;
mod types;

use std::time::Duration;

pub use error::{CloudError, Retry};
pub use finding::{Finding, Gravity};
use tokio::sync::mpsc;
pub use types::{
    BakeSpec, Baked, ElasticIp, GivenImage, Job, LaunchRequest, Machine, MachineState, Pace, Placement,
};

use crate::domain::{Holding, HoldingKind, InstanceId, MachineType, Timestamp};

/// A cloud.
#[derive(Clone, Debug)]
pub enum Cloud {
    /// Machines on this host.
    Local(local::Local),
    /// Machines on AWS EC2.
    #[cfg(feature = "ec2")]
    Ec2(ec2::Ec2),
}

impl Cloud {
    /// The cloud's name: the value of `CLOUD`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => "ec2",
        }
    }

    /// How often it is asked what there is.
    pub fn pace(&self) -> Pace {
        let seconds = Duration::from_secs;
        match self {
            Self::Local(_) => Pace { busy: seconds(5), idle: seconds(5), between: Duration::ZERO },
            // An account has 100 such requests at once and 20 a second after that, for all of its programs.
            // https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => Pace { busy: seconds(5), idle: seconds(60), between: seconds(2) },
        }
    }

    /// Seconds that a machine may take from its launch until listings show it. What they do not show after that is
    /// not there.
    pub fn appears_within(&self) -> i64 {
        match self {
            Self::Local(_) => 0,
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => 300,
        }
    }

    /// Makes what machines need before any is launched, and ends what interrupted bakes left. Idempotent.
    ///
    /// # Errors
    /// Where machines cannot run there, with the cure.
    pub async fn prepare(&self) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.prepare().await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.prepare().await,
        }
    }

    /// The cloud with its account and region: what a listing is a listing of.
    ///
    /// # Errors
    /// Where it cannot say.
    pub async fn whereabouts(&self) -> Result<String, CloudError> {
        match self {
            Self::Local(_) => Ok("local".to_owned()),
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.whereabouts().await,
        }
    }

    /// Whether what it lists is the site's own only once it is ready: before that it may be another account's.
    pub fn lists_when_ready(&self) -> bool {
        match self {
            Self::Local(_) => false,
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => true,
        }
    }

    /// Seconds for which it must not show a machine before that is believed: one listing may lack what is there.
    pub fn vanishes_after(&self) -> i64 {
        match self {
            Self::Local(_) => 0,
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => 60,
        }
    }

    /// Looks whether machines can run there, and tells what it finds as it comes. Machines and whoever works on them
    /// notice nothing. `git_hosts` are addresses that machines fetch repositories from; `site` says the process of a
    /// site that runs beside this one.
    pub async fn examine(
        &self,
        git_hosts: Vec<String>,
        site: impl Fn() -> Option<i32> + Send + Sync + 'static,
        findings: mpsc::UnboundedSender<Finding>,
    ) {
        match self {
            Self::Local(local) => local.examine(git_hosts, site, findings).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.examine(site, findings).await,
        }
    }

    /// On what and where the next machine is to run: the type that was chosen, and no subnet of those that had no room
    /// for it. None in a cloud that wants nothing told.
    ///
    /// # Errors
    /// Where the settings name what the cloud does not have, or no subnet is left.
    pub async fn place(
        &self,
        machine_type: Option<&MachineType>,
        image: &str,
        avoided: &[String],
    ) -> Result<Option<Placement>, CloudError> {
        match self {
            Self::Local(_) => {
                let _ = (machine_type, image, avoided);
                Ok(None)
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.place(machine_type, image, avoided).await.map(Some),
        }
    }

    /// Launches a machine, or gives the one that this token launched already. `before` says when the same request was
    /// last sent without its being known what came of it; none where nothing can have come of it.
    ///
    /// # Errors
    /// [`Retry::Later`] where it is not known whether a machine came of it; repeat the same request.
    pub async fn launch(
        &self,
        request: &LaunchRequest,
        before: Option<Timestamp>,
    ) -> Result<Machine, CloudError> {
        match self {
            Self::Local(local) => {
                let _ = before;
                local.launch(request).await
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.launch(request, before).await,
        }
    }

    /// Gives up a launch of which it is not known what came of it: gives the machine that came of it, which is to be
    /// terminated, or nothing where none did, or what did is gone again.
    ///
    /// # Errors
    /// Where it still cannot be told; repeat the call.
    pub async fn abandon(
        &self,
        request: &LaunchRequest,
        sent_at: Timestamp,
    ) -> Result<Option<Machine>, CloudError> {
        match self {
            Self::Local(local) => {
                let _ = sent_at;
                local.abandon(request).await.map(|()| None)
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.abandon(request, sent_at).await,
        }
    }

    /// Every machine of this site, in as few calls as the cloud allows.
    ///
    /// # Errors
    /// Where the cloud cannot say.
    pub async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        match self {
            Self::Local(local) => local.list().await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.list().await,
        }
    }

    /// Those of these machines that the cloud knows though [`list`](Self::list) did not show them.
    ///
    /// # Errors
    /// Where the cloud cannot say.
    pub async fn find(&self, ids: &[InstanceId]) -> Result<Vec<Machine>, CloudError> {
        match self {
            // What is there is listed.
            Self::Local(_) => {
                let _ = ids;
                Ok(Vec::new())
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.find(ids).await,
        }
    }

    /// Stops a machine and keeps its disk. Idempotent.
    ///
    /// # Errors
    /// Where the cloud refuses, or there is no such machine of this site.
    pub async fn stop(&self, id: &InstanceId) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.stop(id).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.stop(id).await,
        }
    }

    /// Starts a stopped machine again; its public IP may be another. Idempotent.
    ///
    /// # Errors
    /// Where the cloud refuses, or there is no such machine of this site.
    pub async fn start(&self, id: &InstanceId) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.start(id).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.start(id).await,
        }
    }

    /// Reboots a running machine; its disk and its public IP stay.
    ///
    /// # Errors
    /// Where the cloud refuses, or there is no such machine of this site.
    pub async fn reboot(&self, id: &InstanceId) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => {
                local.stop(id).await?;
                local.start(id).await
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.reboot(id).await,
        }
    }

    /// Terminates a machine with all that is on it; one that is gone already is no error. It is gone once listings say
    /// so.
    ///
    /// # Errors
    /// Where the cloud refuses, or the machine does not carry this site's tag.
    pub async fn terminate(&self, id: &InstanceId) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.terminate(id).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.terminate(id).await,
        }
    }

    /// Whether machines are to be given public IPs that they keep while they are stopped.
    pub fn gives_addresses(&self) -> bool {
        match self {
            Self::Local(_) => false,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.gives_addresses(),
        }
    }

    /// Gives the running machine of a launch the public IP that it keeps. Idempotent.
    ///
    /// # Errors
    /// Where the cloud refuses, or has no such addresses.
    pub async fn give_address(
        &self,
        request: &LaunchRequest,
        id: &InstanceId,
    ) -> Result<ElasticIp, CloudError> {
        match self {
            Self::Local(_) => {
                let _ = (request, id);
                Err(CloudError::never("Machines on this host keep no public IP."))
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.give_address(request, id).await,
        }
    }

    /// Gives back the public IPs that the machine of a launch token kept. Idempotent.
    ///
    /// # Errors
    /// Where the cloud refuses; repeat the call.
    pub async fn release_addresses(&self, token: &str) -> Result<(), CloudError> {
        match self {
            Self::Local(_) => {
                let _ = token;
                Ok(())
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.release_addresses(token).await,
        }
    }

    /// Starts a script as root on a running machine, detached from us. A repeated call does no harm: while the job's
    /// script runs it does nothing, and a deployment's script itself refuses one that has begun.
    ///
    /// # Errors
    /// Where the machine is not running or does not take it.
    pub async fn run(&self, id: &InstanceId, job: Job, script: &[u8]) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.run(id, job, script).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.run(id, job, script).await,
        }
    }

    /// The last of the machine's console, at most 64 KiB, for when it never reported.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn console(&self, id: &InstanceId) -> Result<Vec<u8>, CloudError> {
        match self {
            Self::Local(local) => local.console(id).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.console(id).await,
        }
    }

    /// The image that the settings give instead of one of the site's own.
    ///
    /// # Errors
    /// Where it is not there, or the cloud cannot say.
    pub async fn given_image(&self) -> Result<Option<GivenImage>, CloudError> {
        match self {
            Self::Local(_) => Ok(None),
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.given_image().await,
        }
    }

    /// Bakes a golden image: a fresh machine runs the image script and powers off. What it prints
    /// goes to `log` as it comes. Whatever fails, no builder is left running and no half image listed.
    ///
    /// # Errors
    /// Where the base cannot be made, the script fails, or its mark is missing.
    pub async fn bake(&self, spec: BakeSpec, log: mpsc::Sender<Vec<u8>>) -> Result<Baked, CloudError> {
        match self {
            Self::Local(local) => local.bake(spec, log).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.bake(spec, log).await,
        }
    }

    /// Gives back what [`prepare`](Self::prepare) made on the host, where no machine needs it any more.
    pub async fn release(&self) {
        match self {
            Self::Local(local) => {
                if let Err(error) = local.teardown().await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the bridge and its rules stay");
                }
            }
            #[cfg(feature = "ec2")]
            Self::Ec2(_) => {}
        }
    }

    /// Deletes an image of this site; one that is gone already is no error.
    ///
    /// # Errors
    /// [`Retry::Never`] where a machine stands on it, a stopped one too, or it is another site's.
    pub async fn delete_image(&self, name: &str) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.delete_image(name).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.delete_image(name).await,
        }
    }

    /// The cloud's names of this site's images that machines can boot from.
    ///
    /// # Errors
    /// Where the cloud cannot say.
    pub async fn images(&self) -> Result<Vec<String>, CloudError> {
        match self {
            Self::Local(local) => local.images().await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.images().await,
        }
    }

    /// Everything of this site in the cloud, with what is known of each: for those who look for what no row knows.
    ///
    /// # Errors
    /// Where the cloud cannot say.
    pub async fn inventory(&self) -> Result<Vec<Holding>, CloudError> {
        match self {
            Self::Local(local) => local.inventory().await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.inventory().await,
        }
    }

    /// Ends a thing of the [`inventory`](Self::inventory), and it alone, where it is this site's at this moment; one
    /// that is gone already is no error.
    ///
    /// # Errors
    /// Where it is not this site's, or the cloud refuses.
    pub async fn discard(&self, kind: HoldingKind, id: &str) -> Result<(), CloudError> {
        match self {
            Self::Local(local) => local.discard(kind, id).await,
            #[cfg(feature = "ec2")]
            Self::Ec2(ec2) => ec2.discard(kind, id).await,
        }
    }
}
