//! The sample's whole life: live, redeployed, stopped and started with another address, broken from outside.

use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    person::{Person, hidden},
    site::{Site, bake_log},
};

/// Waits for the log of a new deployment, and in it for the end of the step `start`.
const STOP_NGINX: &str = "before=$(readlink -f /var/log/ec-deployer/deploy.log)
while [[ $(readlink -f /var/log/ec-deployer/deploy.log) == \"$before\" ]]; do sleep 0.02; done
until grep -q '^::ec step start ok' /var/log/ec-deployer/deploy.log; do sleep 0.02; done
systemctl stop nginx
";

/// The sample as the form of Try the sample has it.
pub async fn deploy_sample(person: &Person) -> String {
    let form = person.get("/instances/new?sample=guestbook").await;
    let url = hidden(&form.text, "github_url").expect("the form is filled in");
    let project = hidden(&form.text, "project_name").expect("the form is filled in");
    assert_eq!(project, "guestbook");
    person.deploy(&url, &project).await
}

/// Writes into the guestbook as a visitor does.
pub async fn sign(visitor: &Person, address: &str, words: &str) {
    let page = visitor.get(&format!("{address}/")).await;
    let token =
        hidden(&page.text, "csrfmiddlewaretoken").unwrap_or_else(|| panic!("no form:\n{}", page.text));
    let answer = visitor
        .post_to(
            &format!("{address}/"),
            &[("csrfmiddlewaretoken", &token), ("name", "Visitor"), ("message", words)],
        )
        .await;
    assert!(answer.status.is_redirection(), "{}\n{}", answer.status, answer.text);
}

/// A visitor reads a row of the guestbook.
async fn reads(visitor: &Person, words: &str) {
    let page = visitor.get("/").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains(words), "{}", page.text);
}

/// The addresses of a page's stylesheets.
pub fn stylesheets(page: &str) -> Vec<String> {
    let links = page.split("<link").skip(1).map(|rest| &rest[..rest.find('>').unwrap_or(0)]);
    links
        .filter(|link| link.contains("stylesheet"))
        .filter_map(|link| Some(link.split("href=\"").nth(1)?.split('"').next()?.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_live_keeps_its_rows_and_follows_its_address() {
    assert!(bake_log().contains("::ec done"), "the golden image was baked by its script");
    let (site, mira) = Site::start("sample").await;
    let name = deploy_sample(&mira).await;
    let info = mira.until(&name, "live", 120).await;
    assert_eq!(info["progress"], 1.0);
    assert!(
        info["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["state"] == "ok" && step["seconds"].is_number())
    );
    assert_eq!(info["error"], Value::Null);

    // Its page, a static file and a database write.
    let address = mira.address(&name).await;
    let visitor = Person::new(&address);
    let page = visitor.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    let css = stylesheets(&page.text);
    assert!(!css.is_empty(), "{}", page.text);
    for sheet in &css {
        assert_eq!(visitor.get(sheet).await.status, StatusCode::OK, "{sheet}");
    }
    assert_eq!(visitor.get("/static/admin/css/base.css").await.status, StatusCode::OK);
    sign(&visitor, &address, "written before the redeployment").await;
    reads(&visitor, "written before the redeployment").await;

    // A row written before a redeployment is read after it.
    mira.redeploy(&name).await;
    let second = |info: &Value| info["status"] == "live" && info["progress"] == 1.0;
    mira.wait(&name, 10, |info| info["status"] == "deploying").await;
    mira.wait(&name, 120, second).await;
    reads(&visitor, "written before the redeployment").await;

    // Stopped and started outside the site, with another address: shown as what it is, and live again.
    let id = info["instance_id"].as_str().unwrap().to_owned();
    let cloud = site.cloud();
    cloud.stop(&id.parse().unwrap()).await.unwrap();
    let stopped = mira.until(&name, "stopped", 60).await;
    assert_eq!(stopped["public_ip"], Value::Null);
    cloud.start(&id.parse().unwrap()).await.unwrap();
    let started = mira.until(&name, "live", 120).await;
    assert_eq!(started["instance_id"], info["instance_id"], "the same machine");
    assert_ne!(started["public_ip"], info["public_ip"], "another address");
    let moved = Person::new(&mira.address(&name).await);
    let page = moved.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("written before the redeployment"));
    sign(&moved, &mira.address(&name).await, "written at the new address").await;

    // Stopped and started by its owner.
    let detail = format!("/instances/{name}");
    let stop = format!("{detail}/stop");
    assert_eq!(mira.post(&stop, &[]).await.status, StatusCode::SEE_OTHER);
    let stopped = mira.until(&name, "stopped", 60).await;
    assert_eq!(stopped["instance_id"], info["instance_id"], "its machine is kept");
    let start = mira.post_from(&detail, &format!("{detail}/start"), &[]).await;
    assert_eq!(start.status, StatusCode::SEE_OTHER, "{}", start.text);
    mira.until(&name, "live", 120).await;
    let moved = Person::new(&mira.address(&name).await);
    reads(&moved, "written at the new address").await;

    // Nginx stopped as soon as the next deployment has started its services: the check must see it.
    let arm =
        format!("cat >/run/trap.sh <<'END'\n{STOP_NGINX}END\nsystemd-run --unit=trap bash /run/trap.sh");
    site.exec(&id, &["bash", "-c", &arm]).await;
    mira.redeploy(&name).await;
    let failed = mira.wait(&name, 180, |info| info["error"] != Value::Null).await;
    assert_eq!(failed["error"]["step"], "health", "{failed:#}");
    site.exec(&id, &["systemctl", "start", "nginx"]).await;
}
