//! Two owners at once.

use reqwest::StatusCode;

use crate::{sample::deploy_sample, site::Site};

#[tokio::test(flavor = "multi_thread")]
async fn two_owners_deploy_at_once_and_neither_sees_the_others() {
    let (site, admin) = Site::start("owners").await;
    let aiko = site.add_user("aiko", "a quiet green river").await;
    let tomasz = site.add_user("tomasz", "seven small boats").await;
    let (first, second) = tokio::join!(deploy_sample(&aiko), deploy_sample(&tomasz));
    assert_ne!(first, second, "a blank name takes the first free one");
    tokio::join!(aiko.until(&first, "live", 180), tomasz.until(&second, "live", 180));
    assert_ne!(aiko.address(&first).await, tomasz.address(&second).await);
    for (person, others) in [(&aiko, &second), (&tomasz, &first)] {
        for page in ["", "/info", "/log", "/events", "/terminate"] {
            let answer = person.get(&format!("/instances/{others}{page}")).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{page}");
        }
        assert!(!person.get("/instances").await.text.contains(&format!("/instances/{others}\"")));
    }
    for name in [&first, &second] {
        assert_eq!(admin.get(&format!("/instances/{name}")).await.status, StatusCode::OK);
    }
}
