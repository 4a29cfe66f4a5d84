//! Golden images, for admins: the bake under way, every image with its log, baking and deleting. For
//! anybody else there is nothing here.

mod bake_view;
mod events;
mod list;
mod log;
mod notice;

use axum::Router;
pub use notice::ImageNotice;

use super::{Site, auth::Visit, error::WebError};
use crate::domain::{Image, ImageId};

pub fn router() -> Router<Site> {
    Router::new().merge(list::router()).merge(events::router()).merge(log::router())
}

/// The image of this number.
async fn find(visit: &Visit, number: &str) -> Result<Image, WebError> {
    let id = read_id(number)?;
    visit.site.store.image(id).await?.ok_or(WebError::NotFound)
}

/// A number in an address. What is none names nothing.
fn read_id(number: &str) -> Result<ImageId, WebError> {
    number.parse().map(ImageId).map_err(|_| WebError::NotFound)
}
