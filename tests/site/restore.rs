//! What `ec-deployer restore` leaves behind, and what it refuses.

use std::{fs, path::Path};

use ec_django_deployer::domain::{DeploymentId, FetchId, FetchKind, Timestamp, UserId};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};

use crate::backup::{Host, names, submission};

/// The numbers of a deployment and of a fetch that are asked for now.
async fn next_numbers(host: &Host) -> (DeploymentId, FetchId) {
    let store = host.store("state").await;
    let row = store.instances(None).await.unwrap()[0].instance.row;
    let (wish, mira) = (submission(UserId(1)), UserId(1));
    let id = store.redeploy(row, &wish.repo, &wish.plan, mira, Timestamp::now()).await.unwrap();
    let number = store.deployment(id).await.unwrap().unwrap().number;
    assert_eq!(number, 2, "what people see goes on where the copy was");
    let fetch = store.want_fetch(row, FetchKind::Log, mira).await.unwrap();
    store.close().await;
    host.own("state");
    (id, fetch)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_number_is_given_out_again() {
    let host = Host::new().await;
    host.well("state", &["backup", "copy.tar.gz"]);
    let mut given = vec![next_numbers(&host).await];
    for _ in 0..2 {
        host.well("state", &["restore", "copy.tar.gz"]);
        let next = next_numbers(&host).await;
        for (deployment, fetch) in &given {
            assert!(next.0.0 > deployment.0 && next.1.0 > fetch.0, "{next:?} after {given:?}");
        }
        given.push(next);
    }
}

/// A backup without one of its files.
fn without(backup: &Path, name: &str, to: &Path) {
    let mut tar = tar::Builder::new(GzEncoder::new(fs::File::create(to).unwrap(), Compression::fast()));
    let mut all = tar::Archive::new(GzDecoder::new(fs::File::open(backup).unwrap()));
    for entry in all.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header().clone();
        if entry.path().unwrap() != Path::new(name) {
            tar.append(&header, entry).unwrap();
        }
    }
    tar.into_inner().unwrap().finish().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_database_that_has_run_goes_without_its_key() {
    let host = Host::new().await;
    let path = |name: &str| host.place.path().join(name);
    // Before its first start a site may have none.
    host.well("state", &["backup", "unused.tar.gz"]);
    without(&path("unused.tar.gz"), "variables.key", &path("less.tar.gz"));
    host.well("other", &["restore", "less.tar.gz"]);

    let store = host.store("state").await;
    store.site().await.unwrap();
    store.close().await;
    host.own("state");
    host.well("state", &["backup", "used.tar.gz"]);
    without(&path("used.tar.gz"), "variables.key", &path("less.tar.gz"));
    host.refused("less.tar.gz", "this backup has no variables.key");
    let url = format!("sqlite://{}", host.state("state").join("deployer.db").display());
    let told = host.ill("elsewhere", &["backup", "forgotten.tar.gz", "--database-url", &url]);
    assert!(told.contains("elsewhere has no variables.key") && told.contains("set STATE_DIR to"), "{told}");
    assert!(!path("forgotten.tar.gz").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_elsewhere_is_replaced_there_or_left_alone() {
    let host = Host::new().await;
    host.well("state", &["backup", "copy.tar.gz"]);
    let elsewhere = host.state("elsewhere");
    let database = elsewhere.join("site.db");
    let url = format!("sqlite://{}", database.display());
    let words = ["restore", "copy.tar.gz", "--database-url", &url];
    host.well("other", &words);
    assert_eq!(names(&elsewhere), ["site.db"]);
    assert!(host.well("other", &["user", "--database-url", &url, "list"]).contains("mira"));

    // A directory of this name cannot be replaced.
    fs::remove_dir_all(&elsewhere).unwrap();
    fs::create_dir_all(&database).unwrap();
    host.own("");
    let before = host.files("other");
    let told = host.ill("other", &words);
    assert!(told.contains("What was there before is in its place again"), "{told}");
    assert_eq!(names(&elsewhere), ["site.db"]);
    assert!(host.files("other") == before);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_types_a_password_holds_no_database_that_may_be_replaced() {
    let host = Host::new().await;
    for words in [["user", "add", "noor", "--password-stdin"], ["user", "passwd", "mira", "--password-stdin"]]
    {
        // Nothing is typed, and nothing was opened for it: there would be a database.
        let told = host.ill("unopened", &words);
        assert!(told.contains("12 are needed"), "{told}");
        assert!(!host.state("unopened").exists());
    }
}
