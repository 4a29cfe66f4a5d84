//! The page of the golden images: the bake under way, all of them, baking one, deleting one.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};

use super::{ImageNotice, bake_view::BakeView, events::seen, read_id};
use crate::{
    domain::{Image, ImageId, ImageState},
    store::ImageDeletion,
    user_data,
    web::{
        Site,
        auth::{Admin, CheckedForm, NoFields, Visit},
        error::WebError,
        format::{ago, count, size},
        page::{Section, Shell, page},
        readiness::ReadinessNotice,
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/images", get(show).post(bake)).route("/images/{id}/delete", post(delete))
}

/// Characters of a script's digest that are shown: enough to tell two apart.
const SHORT: usize = 8;

/// A row of the table.
pub struct Row {
    pub image: Image,
    /// Whether instances are launched from it.
    newest: bool,
    /// How many instances stand on it.
    standing: u32,
    /// Whether those need it as long as they are there.
    stood_on: bool,
}

impl Row {
    /// What it stands on, or what went wrong.
    pub fn sub(&self) -> Option<&str> {
        let image = &self.image;
        let said = image.kept_because.as_deref().or(image.error.as_deref());
        said.or(Some(image.base.as_str()).filter(|base| !base.is_empty()))
    }

    /// Its state in words.
    pub fn state(&self) -> &'static str {
        match self.image.state {
            _ if self.image.leaving => "deleting",
            ImageState::Baking if self.image.waiting => "asked for",
            ImageState::Good if self.newest => "good, newest",
            state => state.name(),
        }
    }

    /// The status whose colour it has.
    pub fn tone(&self) -> &'static str {
        if self.image.leaving { "terminating" } else { self.image.state.name() }
    }

    /// When it was made, as HTML.
    pub fn made(&self) -> String {
        ago(self.image.made_at())
    }

    /// Its size on disk; nothing where it is not known.
    pub fn size(&self) -> String {
        self.image.size.map(size).unwrap_or_default()
    }

    /// The beginning of its script's digest.
    pub fn script(&self) -> &str {
        self.image.script.get(..SHORT).unwrap_or(&self.image.script)
    }

    /// Whether this program would bake the same.
    pub fn script_is(&self) -> &'static str {
        if self.image.is_given() {
            "by the settings"
        } else if self.image.script == user_data::image_digest() {
            "current"
        } else {
            "older script"
        }
    }

    /// How many instances stand on it; nothing where it is no image.
    pub fn instances(&self) -> String {
        let is_image = self.image.state == ImageState::Good || self.standing > 0;
        if is_image { self.standing.to_string() } else { String::new() }
    }

    /// Whether its bake is under way.
    pub fn is_baking(&self) -> bool {
        self.image.state == ImageState::Baking
    }

    /// Whether nothing is in the way of deleting it.
    pub fn can_be_deleted(&self) -> bool {
        !self.is_baking() && !self.image.leaving && !self.newest && (self.standing == 0 || !self.stood_on)
    }
}

/// What the page shows.
pub struct ImagesView {
    pub csrf: String,
    pub bake: Option<BakeView>,
    pub rows: Vec<Row>,
    pub readiness: Option<ReadinessNotice>,
    pub notice: Option<ImageNotice>,
    /// Why the image was not deleted that was to be.
    pub refusal: Option<String>,
}

impl ImagesView {
    /// The images as they are now.
    pub async fn of(visit: &Visit) -> Result<Self, WebError> {
        let store = &visit.site.store;
        let newest = store.newest_good_image().await?.map(|image| image.id);
        let standing = store.instances_by_image().await?;
        let images = store.images().await?;
        let bake = match images.iter().find(|image| image.state == ImageState::Baking) {
            Some(image) => Some(BakeView::of(visit, image.clone()).await?),
            None => None,
        };
        let row = |image: Image| Row {
            newest: newest == Some(image.id),
            standing: standing.get(&image.id).copied().unwrap_or_default(),
            stood_on: visit.site.settings.machines_need_images(),
            image,
        };
        Ok(Self {
            csrf: visit.csrf.token(),
            bake,
            rows: images.into_iter().map(row).collect(),
            readiness: ReadinessNotice::of(&visit.site),
            notice: ImageNotice::here(visit).await?,
            refusal: None,
        })
    }

    /// Whether something will change by itself.
    fn is_moving(&self) -> bool {
        self.bake.is_some() || self.rows.iter().any(|row| row.image.leaving)
    }

    /// Where the page's live updates come from, with what it shows already.
    fn events(&self) -> Result<String, WebError> {
        let seen = seen(self)?;
        Ok(match &self.bake {
            Some(bake) => {
                format!("/images/events?seen={seen}&bake={}&from={}", bake.image.id, bake.log.len())
            }
            None => format!("/images/events?seen={seen}"),
        })
    }
}

#[derive(Template)]
#[template(path = "images.html")]
struct ImagesPage {
    shell: Shell,
    view: ImagesView,
}

async fn show(Admin(visit): Admin) -> Result<Response, WebError> {
    let view = ImagesView::of(&visit).await?;
    answer(&visit, StatusCode::OK, view).await
}

async fn answer(visit: &Visit, status: StatusCode, view: ImagesView) -> Result<Response, WebError> {
    let mut shell = Shell::new(visit, "Golden images", "The golden images that instances boot from.").await?;
    shell.section = Section::Images;
    // A refusal stays where it is read.
    shell.moving = view.is_moving() && view.refusal.is_none();
    shell.events = Some(view.events()?).filter(|_| view.refusal.is_none());
    page(status, &ImagesPage { shell, view })
}

/// Asks for a bake. A second time, while one is under way, is not a second bake.
async fn bake(Admin(visit): Admin, _form: CheckedForm<NoFields>) -> Result<Redirect, WebError> {
    if visit.site.store.want_bake(visit.user.id, user_data::image_digest()).await? {
        tracing::info!(by = %visit.user.username, "a bake was asked for");
    }
    Ok(Redirect::to("/images"))
}

async fn delete(
    Admin(visit): Admin,
    Path(number): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let id = read_id(&number)?;
    let refusal =
        match visit.site.store.want_image_deleted(id, visit.site.settings.machines_need_images()).await? {
            ImageDeletion::Missing => return Err(WebError::NotFound),
            ImageDeletion::Wanted => {
                tracing::info!(image = %id, by = %visit.user.username, "an image is to be deleted");
                return Ok(Redirect::to("/images").into_response());
            }
            ImageDeletion::Baking => format!("{} is being baked. Wait for its end.", named(id)),
            ImageDeletion::NewestGood => {
                format!(
                    "{} is the newest good one, from which instances boot. Bake a new one first.",
                    named(id)
                )
            }
            ImageDeletion::InUse(instances) => format!(
                "{} is needed: {} on it, also where stopped. Terminate first what stands on it.",
                named(id),
                if instances == 1 {
                    "1 instance stands".to_owned()
                } else {
                    count(instances, "instance") + " stand"
                }
            ),
        };
    let mut view = ImagesView::of(&visit).await?;
    view.refusal = Some(refusal);
    answer(&visit, StatusCode::CONFLICT, view).await
}

fn named(id: ImageId) -> String {
    format!("The image of bake {id}")
}
