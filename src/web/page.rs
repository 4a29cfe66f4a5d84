//! What every page has around its content.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};

use super::{Site, assets, auth::Visit, error::WebError, format};
use crate::domain::{Image, ImageState, Timestamp};

/// The parts of the site that the navigation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The list of instances, and every page below it.
    Instances,
    /// The golden images.
    Images,
    /// The machines that there are, and what they cost.
    Cloud,
    /// The people who can sign in.
    Users,
    /// One's own account.
    Account,
    /// A page of no part: sign-in, an error.
    None,
}

/// What stands around a page's content: title, navigation, foot.
pub struct Shell {
    /// The title, the site's name not included.
    pub title: String,
    /// One sentence on the page.
    pub description: String,
    /// Who is signed in.
    pub username: Option<String>,
    /// The token of the forms on this page.
    pub csrf: String,
    /// Where live updates come from.
    pub events: Option<String>,
    /// Whether something is under way, so that a page without scripts reloads itself.
    pub moving: bool,
    /// The part of the site that the page belongs to.
    pub section: Section,
    /// Whether whoever is signed in may see the admins' pages.
    pub is_admin: bool,
    /// The cloud's name.
    pub cloud: &'static str,
    /// How old the golden image is, in words.
    pub image: String,
}

impl Shell {
    /// The shell of a page for somebody who is signed in.
    pub async fn new(
        visit: &Visit,
        title: impl Into<String>,
        description: impl Into<String>,
    ) -> Result<Self, WebError> {
        Ok(Self {
            title: title.into(),
            description: description.into(),
            username: Some(visit.user.username.to_string()),
            csrf: visit.csrf.token(),
            events: None,
            moving: false,
            section: Section::Instances,
            is_admin: visit.user.is_admin(),
            cloud: visit.site.settings.cloud,
            image: image_in_words(&visit.site).await?,
        })
    }

    /// The shell of a page that must come whatever happens: what cannot be known is left out.
    pub async fn bare(site: &Site, visit: Option<&Visit>, title: &str, description: &str) -> Self {
        Self {
            title: title.to_owned(),
            description: description.to_owned(),
            username: visit.map(|visit| visit.user.username.to_string()),
            csrf: visit.map(|visit| visit.csrf.token()).unwrap_or_default(),
            events: None,
            moving: false,
            section: Section::None,
            is_admin: visit.is_some_and(|visit| visit.user.is_admin()),
            cloud: site.settings.cloud,
            image: match visit {
                Some(_) => image_in_words(site).await.unwrap_or_default(),
                None => String::new(),
            },
        }
    }

    /// The attribute of a link in the navigation that leads to where one is.
    pub fn current(&self, section: &str) -> &'static str {
        let here = match self.section {
            Section::Instances => "instances",
            Section::Images => "images",
            Section::Cloud => "cloud",
            Section::Users => "users",
            Section::Account => "account",
            Section::None => "",
        };
        if here == section { r#" aria-current="page""# } else { "" }
    }

    /// The link to the stylesheet, the script or the icon.
    pub fn asset(&self, name: &str) -> String {
        assets::link(name)
    }

    /// The site's version.
    pub fn version(&self) -> &'static str {
        crate::VERSION
    }
}

async fn image_in_words(site: &Site) -> Result<String, WebError> {
    let Some(newest) = site.store.newest_image().await? else { return Ok("no golden image yet".to_owned()) };
    Ok(match (newest.state, site.store.newest_good_image().await?) {
        (_, Some(good)) => {
            let made = good.finished_at.unwrap_or(good.created_at);
            format!("golden image: {} old", format::age(made, Timestamp::now()))
        }
        (ImageState::Baking, None) => "golden image: being baked".to_owned(),
        (_, None) => "golden image: the bake failed".to_owned(),
    })
}

/// Renders a template.
pub fn html(template: &impl Template) -> Result<String, askama::Error> {
    template.render()
}

/// An answer with a page.
pub fn page(status: StatusCode, template: &impl Template) -> Result<Response, WebError> {
    Ok((status, Html(html(template)?)).into_response())
}

/// The notice of a golden image that instances wait for.
#[derive(Template)]
#[template(path = "parts/bake.html")]
pub struct BakeNotice {
    image: Image,
}

impl BakeNotice {
    /// The notice, where there is no image to boot from yet.
    pub async fn of(site: &Site) -> Result<Option<Self>, WebError> {
        if site.store.newest_good_image().await?.is_some() {
            return Ok(None);
        }
        Ok(site.store.newest_image().await?.map(|image| Self { image }))
    }

    /// Whether the bake is under way.
    pub fn is_baking(&self) -> bool {
        self.image.state == ImageState::Baking
    }

    fn title(&self) -> String {
        match (self.is_baking(), self.image.step) {
            (true, Some((step, steps))) => format!("The golden image is being baked: step {step} of {steps}"),
            (true, None) => "The golden image is being baked".to_owned(),
            (false, _) => "The golden image could not be baked".to_owned(),
        }
    }

    /// How far it is, in per cent: the steps that are behind it.
    fn percent(&self) -> u32 {
        self.image.step.map_or(0, |(step, steps)| 100 * step.saturating_sub(1).min(steps) / steps.max(1))
    }
}
