//! Adopting an orphan: a row knows it from then on. One transaction looks and writes, so that no launch and no bake
//! comes between the two.

use std::net::IpAddr;

use sqlx::SqliteConnection;

use super::{Change, Store, StoreError, deployments, error::At, lifecycle, submit};
use crate::domain::{
    ADOPTED, Heir, ImageId, Orphan, OrphanId, RowId, ServerName, Status, Timestamp, UserId, adopt_image,
    adopt_machine,
};

/// What came of the wish to adopt an orphan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// A row knows it now.
    Done,
    /// None can, and why: a sentence.
    Refused(String),
}

/// What an adopted machine's launch would have been: for its attempt.
#[derive(Clone, Copy, Debug)]
pub struct AdoptedLaunch<'a> {
    /// The launch token that is on the machine; one of its own where there is none.
    pub token: &'a str,
    /// The request as JSON.
    pub request: &'a str,
}

/// The instance of a name, as far as it decides about an adoption.
async fn heir(tx: &mut SqliteConnection, name: &str) -> Result<Option<(RowId, UserId, Heir)>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT id AS "id!", owner_id, status, wanted, instance_id IS NOT NULL OR EXISTS (
                SELECT 1 FROM attempts a WHERE a.instance = instances.id AND a.state IN ('open', 'launched'))
                AS "has_machine!: bool"
         FROM instances WHERE name = $1"#,
        name
    )
    .fetch_optional(&mut *tx)
    .await?;
    row.map(|row| {
        let at = At { table: "instances", row: row.id };
        let heir = Heir {
            status: at.read("status", &row.status)?,
            wanted: at.read("wanted", &row.wanted)?,
            has_machine: row.has_machine,
        };
        Ok((RowId(row.id), UserId(row.owner_id), heir))
    })
    .transpose()
}

impl Store {
    /// The instance that a machine's name leads to, as far as it decides about adopting the machine.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn heir(&self, name: &ServerName) -> Result<Option<Heir>, StoreError> {
        let mut tx = self.readers.begin().await?;
        Ok(heir(&mut tx, name.as_str()).await?.map(|(_, _, heir)| heir))
    }

    /// Gives a machine to the instance of its name, as [`adopt_machine`] says: by an attempt with its token, and with a
    /// deployment of the commit that was deployed last, which waits. A machine that runs is deployed on at once; one
    /// that is stopped is wanted so, and deployed on once it is started.
    ///
    /// # Errors
    /// Where the orphan is there no more, or the database fails.
    pub async fn adopt_machine(
        &self,
        orphan: &Orphan,
        launch: AdoptedLaunch<'_>,
    ) -> Result<Adoption, StoreError> {
        let mut tx = self.begin().await?;
        let name = orphan.holding.name.as_deref().unwrap_or_default();
        let found = heir(&mut tx, name).await?;
        let status = match adopt_machine(&orphan.holding, found.map(|(_, _, heir)| heir)) {
            Ok(status) => status,
            Err(why) => return Ok(Adoption::Refused(why)),
        };
        let Some((row, owner, heir)) = found else { return Err(StoreError::Missing("instance")) };
        let Some(image) = image_of(&mut tx, orphan.holding.image.as_deref()).await? else {
            return Ok(Adoption::Refused(
                "The site has no golden image yet, and so no record of what the machine stands on: bake one first."
                    .to_owned(),
            ));
        };
        if !attempt(&mut tx, row, orphan, launch, image).await? {
            return Ok(Adoption::Refused(format!(
                "The machine was launched for another instance than {name}, which has its launch token."
            )));
        }
        let (wanted, now) =
            (if status == Status::Stopped { "stopped" } else { "present" }, Timestamp::now().0);
        let machine_type = orphan.holding.machine_type.as_ref().map(|of| of.as_str());
        let (id, ip) = (&orphan.holding.id, orphan.holding.public_ip.map(|ip: IpAddr| ip.to_string()));
        sqlx::query!(
            "UPDATE instances SET instance_id = $2, public_ip = $3, image_id = $4, notice = NULL, wanted = $5, machine_type = coalesce($7, machine_type),
                 generation = generation + 1, observed_generation = generation + 1, updated_at = $6
             WHERE id = $1",
            row.0,
            id,
            ip,
            image.0,
            wanted,
            now,
            machine_type
        )
        .execute(&mut *tx)
        .await?;
        let by = wished_by(&mut tx, orphan.row).await?.unwrap_or(owner);
        redeploy(&mut tx, row, heir.status, by).await?;
        lifecycle::set_status(&mut tx, row, status).await?;
        sqlx::query!("DELETE FROM orphans WHERE id = $1", orphan.row.0).execute(&mut *tx).await?;
        tx.commit().await?;
        self.tell(Change::Instance(row));
        self.tell(Change::Orphans);
        Ok(Adoption::Done)
    }

    /// Notes an image as a good one, under its own number where no other image has that: so that one that is older
    /// than others does not come before them.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn adopt_image(&self, orphan: &Orphan) -> Result<Adoption, StoreError> {
        let number = match adopt_image(&orphan.holding) {
            Ok(number) => number,
            Err(why) => return Ok(Adoption::Refused(why)),
        };
        let holding = &orphan.holding;
        let mut tx = self.begin().await?;
        let base = holding.name.as_deref().unwrap_or_default();
        let size = holding.gib.map(|gib| i64::from(gib) << 30);
        let made = orphan.since().0;
        // The record of its bake, which was cut short before it was written that it went well.
        let same = sqlx::query!(
            "UPDATE images SET state = 'good', cloud_ref = $2, base = CASE base WHEN '' THEN $3 ELSE base END, size = $4,
                 error = NULL, finished_at = $5, delete_asked_at = NULL, deleted_at = NULL, kept_because = NULL
             WHERE id = $1 AND state = 'failed' AND (cloud_ref IS NULL OR deleted_at IS NOT NULL)",
            number.0,
            holding.id,
            base,
            size,
            made
        )
        .execute(&mut *tx)
        .await?;
        let id = if same.rows_affected() > 0 {
            number
        } else {
            let row = sqlx::query!(
                r#"INSERT INTO images (id, state, script, cloud_ref, base, size, created_at, finished_at)
                 VALUES ((SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM images WHERE id = $1)), 'good', $2, $3, $4, $5, $6, $6)
                 RETURNING id AS "id!""#,
                number.0,
                ADOPTED,
                holding.id,
                base,
                size,
                made
            )
            .fetch_one(&mut *tx)
            .await?;
            ImageId(row.id)
        };
        sqlx::query!("DELETE FROM orphans WHERE id = $1", orphan.row.0).execute(&mut *tx).await?;
        tx.commit().await?;
        self.tell(Change::Image(id));
        self.tell(Change::Orphans);
        Ok(Adoption::Done)
    }
}

/// The record of the image that a machine stands on; where there is none of it, that of the newest.
async fn image_of(tx: &mut SqliteConnection, cloud_ref: Option<&str>) -> Result<Option<ImageId>, StoreError> {
    let row = sqlx::query!("SELECT id FROM images ORDER BY cloud_ref IS $1 DESC, id DESC LIMIT 1", cloud_ref)
        .fetch_optional(&mut *tx)
        .await?;
    Ok(row.map(|row| ImageId(row.id)))
}

/// Writes the attempt that has brought the machine: the one of its token, where that is known. False where it was
/// another instance's.
async fn attempt(
    tx: &mut SqliteConnection,
    instance: RowId,
    orphan: &Orphan,
    launch: AdoptedLaunch<'_>,
    image: ImageId,
) -> Result<bool, StoreError> {
    let (id, now, launched) = (&orphan.holding.id, Timestamp::now().0, orphan.since().0);
    let there = sqlx::query!("SELECT id, instance, state FROM attempts WHERE token = $1", launch.token)
        .fetch_optional(&mut *tx)
        .await?;
    match there {
        Some(there) if there.instance != instance.0 => return Ok(false),
        Some(there) => {
            sqlx::query!(
                "UPDATE attempts SET state = 'launched', instance_id = $2, refusal = NULL, ended_at = NULL, address = NULL,
                     launched_at = coalesce(launched_at, $3)
                 WHERE id = $1",
                there.id,
                id,
                launched
            )
            .execute(&mut *tx)
            .await?;
        }
        None => {
            sqlx::query!(
                "INSERT INTO attempts (instance, token, request, image_id, state, sent_at, instance_id, created_at,
                                       launched_at)
                 VALUES ($1, $2, $3, $4, 'launched', $5, $6, $7, $5)",
                instance.0,
                launch.token,
                launch.request,
                image.0,
                launched,
                id,
                now
            )
            .execute(&mut *tx)
            .await?;
        }
    }
    Ok(true)
}

/// Queues the deployment that was asked for last once more, unless one waits already.
async fn redeploy(
    tx: &mut SqliteConnection,
    row: RowId,
    status: Status,
    by: UserId,
) -> Result<(), StoreError> {
    let Some(newest) = deployments::shown(tx, row).await? else {
        return Err(StoreError::Missing("deployment"));
    };
    if !newest.is_queued() {
        let digest = format!("adopt {}", newest.plan.commit);
        let asked = submit::Asked { by, reason: submit::again(status), digest: &digest };
        submit::queue(tx, row, &newest.plan, asked).await?;
    }
    Ok(())
}

/// Who asked for something to be done about an orphan.
async fn wished_by(tx: &mut SqliteConnection, id: OrphanId) -> Result<Option<UserId>, StoreError> {
    let row =
        sqlx::query!("SELECT wished_by FROM orphans WHERE id = $1", id.0).fetch_optional(&mut *tx).await?;
    Ok(row.and_then(|row| row.wished_by).map(UserId))
}
