//! The notice that a golden image should be baked anew.

use askama::Template;

use crate::{
    domain::{Image, ImageState, Timestamp},
    user_data,
    web::{auth::Visit, error::WebError, format::count},
};

/// What an admin should know of the golden image that instances boot from.
#[derive(Template)]
#[template(path = "parts/image_notice.html")]
pub struct ImageNotice {
    title: String,
    text: &'static str,
    /// Whether it leads to the page of the images: on other pages.
    leads: bool,
}

impl ImageNotice {
    /// The notice, where whoever visits is an admin and the newest good image is old or of another script.
    pub async fn of(visit: &Visit) -> Result<Option<Self>, WebError> {
        if !visit.user.is_admin() {
            return Ok(None);
        }
        let store = &visit.site.store;
        let Some(good) = store.newest_good_image().await? else { return Ok(None) };
        let now = Timestamp::now();
        if good.is_given() || !good.is_old(now) && good.script == user_data::image_digest() {
            return Ok(None);
        }
        let newest = store.newest_image().await?.map(|newest| newest.state);
        Ok(Some(Self::about(&good, newest, now)))
    }

    /// The same for the page of the images itself.
    pub async fn here(visit: &Visit) -> Result<Option<Self>, WebError> {
        Ok(Self::of(visit).await?.map(|notice| Self { leads: false, ..notice }))
    }

    /// What is to be said of a good image that is old, or of another script, after the newest bake.
    fn about(good: &Image, newest: Option<ImageState>, now: Timestamp) -> Self {
        let is_current = good.script == user_data::image_digest();
        let weeks = (now.0 - good.made_at().0) / (7 * 86_400_000);
        let title = if good.is_old(now) {
            format!("The golden image is {} old", count(weeks.unsigned_abs(), "week"))
        } else {
            "The golden image was baked by an older script".to_owned()
        };
        let text = match (newest, is_current) {
            (Some(ImageState::Baking), _) => {
                "A new one is being baked; until it is good, instances boot from this one."
            }
            (Some(ImageState::Failed), _) => {
                "A newer one failed, and the list of images says why. Instances go on booting from this one."
            }
            (_, true) => "Bake a new one for fresh OS packages.",
            (_, false) => "The image script has changed since: bake a new one for what it makes now.",
        };
        Self { title, text, leads: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ImageId;

    #[test]
    fn what_is_said_goes_by_the_images_age_its_script_and_the_newest_bake() {
        let mut image = Image {
            id: ImageId(1),
            state: ImageState::Good,
            cloud_ref: None,
            script: user_data::image_digest().to_owned(),
            base: String::new(),
            step: None,
            step_name: None,
            step_since: None,
            error: None,
            created_at: Timestamp(0),
            finished_at: Some(Timestamp(0)),
            waiting: false,
            requested_by: None,
            size: None,
            leaving: false,
            kept_because: None,
        };
        let day = 86_400;
        let about = |image: &Image, newest, days: i64| {
            let notice = ImageNotice::about(image, Some(newest), Timestamp(0).plus_seconds(days * day));
            format!("{}. {}", notice.title, notice.text)
        };
        assert!(!image.is_old(Timestamp(0).plus_seconds(30 * day - 1)));
        assert!(image.is_old(Timestamp(0).plus_seconds(30 * day)));
        assert_eq!(
            about(&image, ImageState::Good, 36),
            "The golden image is 5 weeks old. Bake a new one for fresh OS packages."
        );
        assert!(about(&image, ImageState::Baking, 36).contains("being baked"));
        image.script = "another".to_owned();
        assert!(about(&image, ImageState::Good, 1).contains("has changed since"));
        assert!(about(&image, ImageState::Failed, 1).contains("older script. A newer one failed"));
    }
}
