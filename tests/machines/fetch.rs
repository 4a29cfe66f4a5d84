//! The project's log, its database and its media files, fetched from a real machine.

use std::{fs, process::Command, time::Duration};

use reqwest::StatusCode;

use crate::{
    person::{Page, Person},
    sample::{deploy_sample, sign},
    site::Site,
};

/// Looks at a page until it says what is awaited.
async fn until(person: &Person, path: &str, wish: impl Fn(&str) -> bool) -> Page {
    let mut page = person.get(path).await;
    for _ in 0..300 {
        if wish(&page.text) {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        page = person.get(path).await;
    }
    panic!("{path} does not get there:\n{}", page.text);
}

/// Prepares a download and gives its bytes.
pub async fn download(person: &Person, site: &Site, name: &str, kind: &str) -> Vec<u8> {
    let page = format!("/instances/{name}/data");
    let answer = person.post_from(&page, &format!("{page}/{kind}"), &[]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    let link = format!("href=\"{page}/{kind}\"");
    // One that was prepared before stays until the new one is here.
    until(person, &page, |text| text.contains(&link) && !text.contains("<progress")).await;
    let file = site.state_dir.join(format!("{kind}.download"));
    person.download(&format!("{page}/{kind}"), &file).await;
    fs::read(file).unwrap()
}

/// What a shell on this host makes of a downloaded file.
pub fn shell(site: &Site, command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).current_dir(&site.state_dir).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_the_database_and_the_media_come_from_the_machine() {
    let (mut site, mira) = Site::start("fetch").await;
    let name = deploy_sample(&mira).await;
    let id = mira.until(&name, "live", 120).await["instance_id"].as_str().unwrap().to_owned();
    let address = mira.address(&name).await;
    let visitor = Person::new(&address);
    sign(&visitor, &address, "kept for download").await;
    visitor.get("/no-such-page/?from=a-visitor").await;
    // nginx has no one behind it for a moment: a 502, and a line in its error log.
    site.exec(&id, &["supervisorctl", "stop", "all"]).await;
    assert_eq!(visitor.get("/?provoked").await.status, StatusCode::BAD_GATEWAY);
    site.exec(&id, &["supervisorctl", "start", "all"]).await;

    // A project's link in place of a file leads nobody out, and nobody's token is anybody's to read.
    let media = "cd /srv/app/shared/media && echo uploaded >'a photo.txt' && ln -s /etc/ec-deployer/secret_key key \
                 && ln -s /etc/shadow ../shadow.sqlite3 && mkfifo pipe && chown -hR app:app .";
    site.exec(&id, &["bash", "-c", media]).await;

    let logs = format!("/instances/{name}/logs");
    mira.get(&logs).await;
    let page = until(&mira, &logs, |text| text.contains("Fetched ")).await;
    let part = |title: &str| {
        let at = page.text.find(&format!("id=\"{title}-title\"")).unwrap_or_else(|| panic!("{}", page.text));
        let rest = &page.text[at..];
        rest[..rest.find("</section>").unwrap()].to_owned()
    };
    assert!(part("errors").contains("/?provoked"), "{}", part("errors"));
    assert!(part("nginx-errors").contains("connect() to unix:"), "{}", part("nginx-errors"));
    assert!(part("requests").contains("GET /no-such-page/?from=a-visitor"), "{}", part("requests"));
    assert!(part("gunicorn").contains("Starting gunicorn"), "{}", part("gunicorn"));
    assert!(part("gunicorn").contains("Not Found: /no-such-page/"), "{}", part("gunicorn"));

    let database = download(&mira, &site, &name, "database").await;
    assert!(database.starts_with(b"SQLite format 3\0"));
    let rows =
        shell(&site, "sqlite3 database.download 'PRAGMA integrity_check; SELECT message FROM entries_entry'");
    assert_eq!(rows, "ok\nkept for download\n");

    download(&mira, &site, &name, "media").await;
    assert_eq!(shell(&site, "tar -tzf media.download"), "media/a photo.txt\n");
    assert_eq!(shell(&site, "tar -xzOf media.download"), "uploaded\n");

    // Two databases come as an archive; nothing is left behind on the machine, the tokens above all.
    let second = "cd /srv/app/shared && sqlite3 other.sqlite3 'PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (7)' \
                  && chown app:app other.sqlite3*";
    site.exec(&id, &["bash", "-c", second]).await;
    download(&mira, &site, &name, "database").await;
    let read = "tar -xzf database.download && ls *.sqlite3 && sqlite3 other.sqlite3 'SELECT x FROM t'";
    assert_eq!(shell(&site, read), "db.sqlite3\nother.sqlite3\n7\n");
    let left = "ls -A /srv/app/home | grep fetch; ls /var/lib/ec-deployer/scripts; ls /srv/app/shared";
    let left = site.exec(&id, &["bash", "-c", left]).await;
    assert!(!left.contains("fetch"), "{left}");

    // A site that is killed in between loses nothing.
    let data = format!("/instances/{name}/data");
    mira.post_from(&data, &format!("{data}/media"), &[]).await;
    site.kill();
    site.restart();
    let page = until(&mira, &data, |text| !text.contains("<progress")).await;
    assert!(page.text.contains(&format!("href=\"{data}/media\"")), "{}", page.text);

    // Nothing to send, and nobody to ask, are sentences.
    site.exec(&id, &["bash", "-c", "rm -f /srv/app/shared/media/*"]).await;
    mira.post_from(&data, &format!("{data}/media"), &[]).await;
    until(&mira, &data, |text| text.contains("There are no media files on this machine.")).await;
    mira.terminate(&name).await;
    mira.until(&name, "terminated", 60).await;
    let page = mira.get(&data).await;
    assert!(page.text.contains("The machine is gone."), "{}", page.text);
    let file = site.state_dir.join("after.download");
    mira.download(&format!("{data}/database"), &file).await;
    assert_eq!(fs::read(&file).unwrap(), fs::read(site.state_dir.join("database.download")).unwrap());
}
