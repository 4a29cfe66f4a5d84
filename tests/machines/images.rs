//! A golden image is baked and deleted by the page's own buttons, while the site is killed and goes on.

use std::time::{Duration, Instant};

use reqwest::StatusCode;

use crate::{
    person::Person,
    sample::deploy_sample,
    site::Site,
    trace::{difference, settled},
};

/// Waits until the page of the images has, or has no more, a text.
async fn page_until(person: &Person, seconds: u64, wanted: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    loop {
        let page = person.get("/images").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        if wanted(&page.text) {
            return page.text;
        }
        assert!(start.elapsed() < Duration::from_secs(seconds), "not in {seconds} s:\n{}", page.text);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn press(person: &Person, path: &str, status: StatusCode) -> String {
    let answer = person.post_from("/instances/new", path, &[]).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    answer.text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_bakes_a_new_image_and_deletes_the_old_one() {
    let (mut site, mira) = Site::start("images").await;
    site.lend_base();
    let old = site.cloud().images().await.unwrap();
    let before = settled(&site).await;

    // A site that is killed in a bake says so, and leaves no builder; the old image is good as before.
    press(&mira, "/images", StatusCode::SEE_OTHER).await;
    page_until(&mira, 120, |page| page.contains("Step 2 of 10: Update")).await;
    site.kill();
    site.restart();
    let page = page_until(&mira, 60, |page| !page.contains("Baking now")).await;
    assert!(page.contains("The site was stopped while it was being baked."), "{page}");
    assert!(page.contains("good, newest"), "{page}");
    let after = settled(&site).await;
    let gone = difference(&before, &after);
    assert!(!gone.contains("bakes/"), "{gone}");
    assert_eq!(site.cloud().images().await.unwrap(), old);

    // Instances boot from the old image while the new one is baked.
    press(&mira, "/images", StatusCode::SEE_OTHER).await;
    page_until(&mira, 120, |page| page.contains("Step 2 of 10: Update")).await;
    let name = deploy_sample(&mira).await;
    mira.until(&name, "live", 240).await;
    let page = page_until(&mira, 600, |page| !page.contains("Baking now")).await;
    let images = site.cloud().images().await.unwrap();
    let new = images.iter().find(|image| !old.contains(image)).expect("a second image");
    let row = page.split("<tr role=\"row\">").find(|row| row.contains(new.as_str())).unwrap();
    assert!(row.contains("good, newest"), "{row}");
    assert!(row.contains(" MB</td>") || row.contains(" GB</td>"), "its size is known: {row}");
    let id = row.split("href=\"/images/").nth(1).unwrap().split('/').next().unwrap();
    let log = mira.get(&format!("/images/{id}/log")).await.text;
    assert_eq!(log.matches("<li data-state=\"done\">").count(), 10, "{log}");
    let text = mira.get(&format!("/images/{id}/log.txt")).await.text;
    assert!(text.ends_with("::ec done\n"), "{text}");

    // The old one goes once nothing stands on it, also where the site is killed over it.
    let refused = press(&mira, "/images/1/delete", StatusCode::CONFLICT).await;
    assert!(refused.contains("1 instance stands on it"), "{refused}");
    mira.terminate(&name).await;
    mira.until(&name, "terminated", 60).await;
    press(&mira, "/images/1/delete", StatusCode::SEE_OTHER).await;
    site.kill();
    site.restart();
    page_until(&mira, 60, |page| !page.contains(&old[0])).await;
    assert_eq!(site.cloud().images().await.unwrap(), [new.as_str()]);
    assert!(!site.state_dir.join("local/images").join(&old[0]).exists());
    let name = mira.deploy_again(&name).await;
    mira.until(&name, "live", 240).await;
}
