//! Looks for orphans: what carries this site's mark in the cloud and no row knows. It looks every ten minutes and when
//! an admin asks for it, writes down what it finds, and does about each what an admin wants, and nothing else.

use std::time::Duration;

use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::Reconciler;
use crate::{
    cloud::{Cloud, CloudError, LaunchRequest, Retry},
    domain::{HoldingKind, Orphan, OrphanWish, ServerName, Timestamp, orphans},
    store::{AdoptedLaunch, Adoption, Change, Store, StoreError},
};

/// How often it looks by itself: an inventory is a request for each kind of thing, and what nobody knows of has time.
const EVERY: Duration = Duration::from_secs(600);
/// How soon it looks again where the cloud could not say, or could not do it now.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon it looks whether what is to go is gone.
const SOON: Duration = Duration::from_secs(3);

/// Looks for orphans, and does what admins want done about them.
#[derive(Clone, Debug)]
pub struct Orphans {
    store: Store,
    cloud: Cloud,
    /// The site's random id.
    site: String,
}

impl Reconciler {
    /// The part of it that looks for what no row knows.
    pub fn orphans(&self) -> Orphans {
        Orphans { store: self.store.clone(), cloud: self.cloud.clone(), site: self.settings.site.clone() }
    }
}

impl Orphans {
    /// Works until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        // Before the first look, so that no wish falls between the two.
        let mut changes = self.store.changes();
        loop {
            let pause = tokio::select! {
                () = shutdown.cancelled() => return,
                pause = self.look_where_ready() => pause,
            };
            let pause = pause.unwrap_or_else(|error| {
                tracing::error!(error = &error as &dyn std::error::Error, "orphans could not be looked for");
                Some(PATIENCE)
            });
            let over = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => self.store.until_ready().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = asked(&mut changes) => {}
                () = over => {}
            }
        }
    }

    /// Looks, on a cloud that can run machines. Says when to look again; none where that waits for the cloud.
    async fn look_where_ready(&self) -> Result<Option<Duration>, StoreError> {
        match self.store.readiness().reason() {
            None => self.look().await.map(Some),
            Some(why) => {
                if self.store.inventory().await?.is_awaited() {
                    self.store.inventory_failed(why, Timestamp::now()).await?;
                }
                Ok(None)
            }
        }
    }

    /// Takes an inventory, writes down what no row knows, and does what is wanted about that. Says when to look again.
    async fn look(&self) -> Result<Duration, StoreError> {
        let at = Timestamp::now();
        let inventory = match self.cloud.inventory().await {
            Ok(inventory) => inventory,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the cloud could not be asked for all that it has"
                );
                self.store.inventory_failed(&error.sentence, at).await?;
                return Ok(if error.retry == Retry::Later { PATIENCE } else { EVERY });
            }
        };
        // Later than the inventory, so that what was launched meanwhile is known.
        let known = self.store.known_holdings(at).await?;
        self.store.note_inventory(&orphans(&inventory, &known, at), at).await?;
        let mut pause = EVERY;
        for orphan in self.store.orphans().await?.iter() {
            let Some(wish) = orphan.wish else { continue };
            pause = pause.min(self.fulfil(orphan, wish).await?);
        }
        Ok(pause)
    }

    /// Does what is wanted about an orphan that was seen just now. Says when to look what came of it.
    async fn fulfil(&self, orphan: &Orphan, wish: OrphanWish) -> Result<Duration, StoreError> {
        let known = self.store.known_holdings(Timestamp::now()).await?;
        if known.knows(&orphan.holding) {
            // A row has come to know it since it was found.
            self.store.orphan_gone(orphan.row).await?;
            return Ok(EVERY);
        }
        let (kind, id) = (orphan.holding.kind, &orphan.holding.id);
        match wish {
            OrphanWish::Terminate => {
                let done = self.cloud.discard(kind, id).await;
                tracing::info!(kind = kind.name(), id, done = done.is_ok(), "an orphan was to be terminated");
                self.terminated(orphan, done).await
            }
            OrphanWish::Adopt => {
                let adoption = self.adopt(orphan).await?;
                tracing::info!(kind = kind.name(), id, ?adoption, "an orphan was to be adopted");
                if let Adoption::Refused(why) = adoption {
                    self.store.orphan_failed(orphan.row, &why, false).await?;
                }
                Ok(EVERY)
            }
        }
    }

    /// What was to go is forgotten once an inventory does not show it any more.
    async fn terminated(
        &self,
        orphan: &Orphan,
        done: Result<(), CloudError>,
    ) -> Result<Duration, StoreError> {
        match done {
            Ok(()) => Ok(SOON),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an orphan was not terminated");
                let again = error.retry == Retry::Later;
                self.store.orphan_failed(orphan.row, &error.sentence, again).await?;
                Ok(if again { PATIENCE } else { EVERY })
            }
        }
    }

    async fn adopt(&self, orphan: &Orphan) -> Result<Adoption, StoreError> {
        let holding = &orphan.holding;
        match holding.kind {
            HoldingKind::Image => self.store.adopt_image(orphan).await,
            HoldingKind::Machine => {
                let Some(instance) = holding.name.as_deref().and_then(|name| name.parse::<ServerName>().ok())
                else {
                    return Ok(Adoption::Refused(format!(
                        "The machine {} does not carry the name of an instance.",
                        holding.id
                    )));
                };
                let token = holding.token.clone().unwrap_or_else(|| format!("adopted-{}", holding.id));
                // What it was launched with is not known any more; what is asked of it later needs the rest.
                let request = LaunchRequest {
                    token: token.clone(),
                    site: self.site.clone(),
                    instance,
                    image: holding.image.clone().unwrap_or_default(),
                    user_data: Vec::new(),
                    placement: None,
                };
                let request =
                    serde_json::to_string(&request).map_err(|error| StoreError::File(error.into()))?;
                let launch = AdoptedLaunch { token: &token, request: &request };
                self.store.adopt_machine(orphan, launch).await
            }
            HoldingKind::Address | HoldingKind::Volume | HoldingKind::Snapshot => Ok(Adoption::Refused(
                format!("No record could have the {} {}.", holding.kind.name(), holding.id),
            )),
        }
    }
}

/// Waits until an admin wants something.
async fn asked(changes: &mut Receiver<Change>) {
    loop {
        match changes.recv().await {
            Ok(Change::OrphanWish) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::images::tests::a_cloud, *};
    use crate::{
        domain::{Readiness, Role, UserId},
        store::BakedImage,
    };

    /// A cloud on disk with images that were made an hour ago, one of which a row knows, and who looks for orphans.
    async fn world() -> (Store, Orphans, UserId, tempfile::TempDir) {
        let (store, cloud, dir) = a_cloud(&["img-1-aa", "img-2-aa", "img-3-aa"]).await;
        let id = store.begin_image("digest").await.unwrap();
        store.end_image(id, Ok(BakedImage { cloud_ref: "img-1-aa", base: "", size: 1 })).await.unwrap();
        for name in ["img-1-aa", "img-2-aa"] {
            age(&dir.path().join(format!("local/images/{name}.json")));
        }
        let mira = store.add_user(&"mira".parse().unwrap(), "hash", Role::Admin).await.unwrap();
        (store.clone(), Orphans { store, cloud, site: "site".to_owned() }, mira.id, dir)
    }

    fn age(file: &std::path::Path) {
        let hour = std::time::SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().append(true).open(file).unwrap().set_modified(hour).unwrap();
    }

    /// A stopped machine of a site, as it is on disk.
    fn machine(dir: &tempfile::TempDir, id: &str, site: &str) {
        let machine = dir.path().join("local/machines").join(id);
        fs::create_dir(&machine).unwrap();
        let record =
            format!(r#"{{"site": "{site}", "instance": "shop", "token": "{id}", "image": "img-1-aa"}}"#);
        fs::write(machine.join("machine.json"), record).unwrap();
        fs::write(machine.join("launched"), "").unwrap();
        age(&machine.join("machine.json"));
    }

    async fn ids(store: &Store) -> Vec<String> {
        store.orphans().await.unwrap().iter().map(|orphan| orphan.holding.id.clone()).collect()
    }

    #[tokio::test]
    async fn what_no_row_knows_is_told_and_nothing_is_done_about_it() {
        let (store, orphans, _, dir) = world().await;
        machine(&dir, "i-0123456789abcdef0", "site");
        machine(&dir, "i-0123456789abcdef1", "another");
        for _ in 0..2 {
            assert_eq!(orphans.look().await.unwrap(), EVERY);
            // The third image is young; the second machine is another site's.
            assert_eq!(ids(&store).await, ["i-0123456789abcdef0", "img-2-aa"]);
        }
        assert_eq!(orphans.cloud.images().await.unwrap().len(), 3);
        let found = store.orphans().await.unwrap();
        let machine = &found[0].holding;
        assert_eq!((machine.state.as_str(), machine.name.as_deref()), ("stopped", Some("shop")));
        assert_eq!(machine.image.as_deref(), Some("img-1-aa"));
    }

    #[tokio::test]
    async fn a_cloud_that_is_not_ready_is_not_asked_and_who_asks_is_told_why() {
        let (store, orphans, _, _dir) = world().await;
        store.set_readiness(Readiness::NotReady("No bridge.".to_owned()));
        assert_eq!(orphans.look_where_ready().await.unwrap(), None);
        assert_eq!(store.inventory().await.unwrap().looked_at, None);
        store.want_inventory().await.unwrap();
        assert_eq!(orphans.look_where_ready().await.unwrap(), None);
        let inventory = store.inventory().await.unwrap();
        assert!(!inventory.is_awaited() && inventory.error.as_deref() == Some("No bridge."), "{inventory:?}");
        store.set_readiness(Readiness::Ready);
        assert_eq!(orphans.look_where_ready().await.unwrap(), Some(EVERY));
        assert_eq!(ids(&store).await, ["img-2-aa"]);
    }

    #[tokio::test]
    async fn what_is_to_go_goes_and_it_alone() {
        let (store, orphans, mira, dir) = world().await;
        orphans.look().await.unwrap();
        let row = store.orphans().await.unwrap()[0].row;
        assert!(store.want_orphan(row, OrphanWish::Terminate, mira).await.unwrap());
        assert_eq!(orphans.look().await.unwrap(), SOON, "it is looked whether it is gone");
        assert_eq!(orphans.look().await.unwrap(), EVERY);
        assert_eq!(ids(&store).await, [""; 0]);
        let mut left = orphans.cloud.images().await.unwrap();
        left.sort();
        assert_eq!(left, ["img-1-aa", "img-3-aa"]);
        assert!(!dir.path().join("local/images/img-2-aa").exists());
    }

    #[tokio::test]
    async fn what_the_cloud_refuses_is_told_and_tried_again_where_that_can_help() {
        let (store, orphans, mira, dir) = world().await;
        orphans.look().await.unwrap();
        let row = store.orphans().await.unwrap()[0].row;
        // A machine of another site stands on the image.
        let machine = dir.path().join("local/machines/i-0123456789abcdef1");
        fs::create_dir(&machine).unwrap();
        let record = r#"{"site": "another", "instance": "shop", "token": "t", "image": "img-2-aa"}"#;
        fs::write(machine.join("machine.json"), record).unwrap();
        store.want_orphan(row, OrphanWish::Terminate, mira).await.unwrap();
        assert_eq!(orphans.look().await.unwrap(), EVERY);
        let kept = store.orphan(row).await.unwrap().unwrap();
        assert_eq!(kept.wish, None);
        assert!(kept.failure.unwrap().contains("A machine stands on the golden image img-2-aa"));

        // The disk is not there for a while.
        fs::rename(dir.path().join("local/machines"), dir.path().join("local/away")).unwrap();
        fs::write(dir.path().join("local/machines"), "").unwrap();
        store.want_orphan(row, OrphanWish::Terminate, mira).await.unwrap();
        assert_eq!(orphans.look().await.unwrap(), PATIENCE);
        assert!(store.inventory().await.unwrap().error.is_some());
        assert_eq!(store.orphan(row).await.unwrap().unwrap().wish, Some(OrphanWish::Terminate));
    }

    #[tokio::test]
    async fn an_image_is_adopted_and_one_that_a_row_knows_by_now_is_not_terminated() {
        let (store, orphans, mira, _dir) = world().await;
        orphans.look().await.unwrap();
        let orphan = store.orphans().await.unwrap()[0].clone();
        store.want_orphan(orphan.row, OrphanWish::Adopt, mira).await.unwrap();
        orphans.look().await.unwrap();
        assert_eq!(ids(&store).await, [""; 0]);
        let there = store.image(crate::domain::ImageId(2)).await.unwrap().unwrap();
        assert_eq!(there.cloud_ref.as_deref(), Some("img-2-aa"));

        // Somebody has asked for its end just before that.
        orphans.fulfil(&orphan, OrphanWish::Terminate).await.unwrap();
        assert_eq!(orphans.cloud.images().await.unwrap().len(), 3);
    }
}
