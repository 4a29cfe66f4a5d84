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
}

impl ImageNotice {
    /// The notice, where whoever visits is an admin and the newest good image is old or of another script.
    pub async fn of(visit: &Visit) -> Result<Option<Self>, WebError> {
        if !visit.user.is_admin() {
            return Ok(None);
        }
        let store = &visit.site.store;
        let Some(good) = store.newest_good_image().await? else { return Ok(None) };
        let newest = store.newest_image().await?.map(|newest| newest.state);
        Ok(Self::about(&good, newest, Timestamp::now()))
    }

    fn about(good: &Image, newest: Option<ImageState>, now: Timestamp) -> Option<Self> {
        let is_current = good.script == user_data::image_digest();
        let weeks = (now.0 - good.made_at().0) / (7 * 86_400_000);
        let title = match (good.is_old(now), is_current) {
            (false, true) => return None,
            (true, _) => format!("The golden image is {} old", count(weeks.unsigned_abs(), "week")),
            (false, false) => "The golden image was baked by an older script".to_owned(),
        };
        let text = match (newest, is_current) {
            (Some(ImageState::Baking), _) => {
                "A new one is being baked; until it is good, instances boot from this one."
            }
            (Some(ImageState::Failed), _) => {
                "The bake of a new one failed, and its log says why. Instances go on booting from this one."
            }
            (_, true) => "Bake a new one for fresh OS packages.",
            (_, false) => "The image script has changed since: bake a new one for what it makes now.",
        };
        Some(Self { title, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ImageId;

    #[test]
    fn an_image_is_told_of_when_it_is_old_or_of_another_script() {
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
            notice.map(|notice| format!("{}. {}", notice.title, notice.text))
        };
        assert_eq!(about(&image, ImageState::Good, 29), None);
        assert_eq!(
            about(&image, ImageState::Good, 36).unwrap(),
            "The golden image is 5 weeks old. Bake a new one for fresh OS packages."
        );
        assert!(about(&image, ImageState::Baking, 36).unwrap().contains("being baked"));
        image.script = "another".to_owned();
        assert!(about(&image, ImageState::Good, 1).unwrap().contains("has changed since"));
        assert!(
            about(&image, ImageState::Failed, 1)
                .unwrap()
                .contains("older script. The bake of a new one failed")
        );
    }
}
