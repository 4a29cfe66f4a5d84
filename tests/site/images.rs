//! Golden images: seen, baked and deleted by admins.

use ec_django_deployer::{
    domain::{ImageId, Role, Status, Wanted},
    store::BakedImage,
    user_data,
};
use reqwest::{Method, StatusCode};

use crate::helpers::{App, spawn_app};

const LOG: &str = "::ec step base start\nI: Retrieving Release\n::ec step base ok 37.02\n\
                   ::ec step update start\nReading <package> lists...\n";

/// A good image of this program's script.
async fn good(app: &App, name: &str) -> ImageId {
    let image = app.store.begin_image(user_data::image_digest()).await.unwrap();
    app.store.append_image_log(image, LOG.as_bytes()).await.unwrap();
    let made = BakedImage { cloud_ref: name, base: "Debian GNU/Linux 12 (bookworm)", size: 881_234_567 };
    app.store.end_image(image, Ok(made)).await.unwrap();
    image
}

/// The database as somebody with the file has it, to make time go by.
async fn sql(app: &App, statement: &'static str) {
    let file = app.directory.path().join("site.db");
    let output = std::process::Command::new("sqlite3").arg(file).arg(statement).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Another program's write is seen a moment later.
    tokio::time::sleep(ec_django_deployer::store::Store::FOREIGN * 2).await;
}

#[tokio::test]
async fn for_an_owner_there_is_nothing_here() {
    let app = spawn_app().await;
    good(&app, "img-1").await;
    let mut aiko = app.owner("aiko").await;
    let page = aiko.get("/instances").await;
    page.has_not("href=\"/images\"");
    let nothing = aiko.get("/instances/of-nobody").await;
    for path in ["/images", "/images/1/log", "/images/1/log.txt", "/images/events", "/images/9/log"] {
        let answer = aiko.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.between("<main", "</main>"), nothing.between("<main", "</main>"), "{path}");
    }
    // With and without a form's token.
    for path in ["/images", "/images/1/delete"] {
        assert_eq!(aiko.post(path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(aiko.post_raw(path, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(app.store.images().await.unwrap().len(), 1);
    let mut visitor = app.visitor();
    assert_eq!(visitor.get("/images").await.location(), "/login?next=%2Fimages");
    assert_eq!(visitor.get("/images/events").await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn an_admin_sees_every_image_and_how_it_was_baked() {
    let app = spawn_app().await;
    let mut mira = app.person("mira", Role::Admin).await;
    mira.get("/images").await.has("There is none yet.");
    let old = good(&app, "img-1").await;
    let failed = app.store.begin_image("0123456789abcdef").await.unwrap();
    app.store
        .append_image_log(failed, b"::ec step update start\nno <mirror>\n::ec step update failed 100\n")
        .await
        .unwrap();
    app.store.end_image(failed, Err("The image script failed at update (exit code 100).")).await.unwrap();
    let new = good(&app, "img-3").await;

    let page = mira.get("/images").await;
    page.has("<a href=\"/images\" aria-current=\"page\">Golden images</a>");
    page.has_not("Baking now");
    page.has_not("disabled");
    let rows: Vec<_> = page.body.split("<tr role=\"row\">").skip(2).collect();
    let [first, second, third] = rows[..] else { panic!("{rows:?}") };
    for text in
        ["<code>img-3</code>", "Debian GNU/Linux 12 (bookworm)", "good, newest", "881.2 MB", "current"]
    {
        assert!(first.contains(text), "{text}: {first}");
    }
    assert!(!first.contains("Delete"), "instances are launched from it: {first}");
    for text in [
        "no image",
        "failed at update (exit code 100)",
        ">failed<",
        "<code>01234567</code>",
        "older script",
        "Delete",
    ] {
        assert!(second.contains(text), "{text}: {second}");
    }
    assert!(!second.contains(" MB") && third.contains(">good<") && third.contains("Delete"), "{third}");
    assert!(first.contains(&format!("<code>{}</code>", &user_data::image_digest()[..8])));

    let log = mira.get(&format!("/images/{failed}/log")).await;
    log.has("<div class=\"note bad\"><p>The image script failed at update (exit code 100).</p></div>");
    log.has("<b>==&gt; Update and upgrade OS packages</b>\nno &lt;mirror&gt;\n<mark>failed 100</mark>");
    log.has("<li data-state=\"failed\"><span>Update and upgrade OS packages<span class=\"unseen\">, failed</span></span><span class=\"num\">exit code 100</span>");
    log.has("there already");
    let text = mira.get(&format!("/images/{old}/log.txt")).await;
    assert_eq!((text.header("content-type"), text.body.as_str()), ("text/plain; charset=utf-8", LOG));
    mira.get(&format!("/images/{new}/log")).await.has("<span class=\"num\">37.0 s</span>");
    for path in ["/images/99/log", "/images/x/log", "/images/-1/log.txt", "/images/99999999999999999999/log"]
    {
        assert_eq!(mira.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_bake_is_asked_for_once_and_seen_as_it_goes() {
    let app = spawn_app().await;
    let old = good(&app, "img-1").await;
    let mut mira = app.person("mira", Role::Admin).await;
    mira.get("/images").await.has("<button class=\"btn main\">Bake a golden image</button>");
    assert_eq!(mira.post_raw("/images", "csrf_token=wrong").await.status, StatusCode::FORBIDDEN);
    assert_eq!(app.store.images().await.unwrap().len(), 1);
    mira.get("/images").await;
    let mut again = mira.clone();
    let (first, second) = tokio::join!(mira.post("/images", &[]), again.post("/images", &[]));
    assert_eq!((first.location(), second.location()), ("/images", "/images"));
    assert_eq!(app.store.images().await.unwrap().len(), 2, "a second click is no second bake");
    assert!(app.store.bake_is_wanted().await.unwrap());

    let page = mira.get("/images").await;
    page.has("disabled aria-describedby=\"one-bake\">Bake a golden image");
    page.has("asked for by mira <time");
    page.has("one bake at a time; the last one took ");
    page.has(">asked for<");
    page.has("<meta http-equiv=\"refresh\"");

    // What the baker does.
    let image = app.store.begin_image(user_data::image_digest()).await.unwrap();
    assert_eq!(app.store.newest_good_image().await.unwrap().unwrap().id, old, "the old one serves on");
    app.store.append_image_log(image, &LOG.as_bytes()[..21]).await.unwrap();
    let page = mira.get("/images").await;
    page.has("<p id=\"bake-now\" role=\"status\">Step 1 of 10: Make the base system</p>");
    let path = page.between("data-events=\"", "\"").replace("&#38;", "&").replace("&amp;", "&");
    assert!(path.ends_with(&format!("&bake={image}&from=21")), "{path}");
    let mut events = mira.events(&path, None).await;
    let first = events.until(|event| event.event == "fragment").await;
    assert!(first.data.contains("id=\"steps\"") && !first.data.contains("id=\"main\""), "{first:?}");
    app.store.append_image_log(image, &LOG.as_bytes()[21..]).await.unwrap();
    app.store.image_reached(image, 2, 8, "update").await.unwrap();
    events.until(|event| event.event == "fragment" && event.data.contains("Step 2 of 10")).await;
    let mut events = mira.events(&path, Some(&format!("{image}-43"))).await;
    let log = events.until(|event| event.event == "log").await;
    assert_eq!(
        (log.data.as_str(), log.id.as_str()),
        (
            "<i>ok 37.02 s</i>\n<b>==&gt; Update and upgrade OS packages</b>\nReading &lt;package&gt; lists...",
            format!("{image}-{}", LOG.len()).as_str()
        )
    );
    let page = mira.get("/images").await;
    page.has("<li data-state=\"done\"><span>Make the base system<span class=\"unseen\">, done</span></span><span class=\"num\">37.0 s</span></li>");
    page.has("aria-current=\"step\"><span>Update and upgrade OS packages");
    page.has("data-elapsed=\"0\"");
    page.has("value=\"35\" max=\"100\"");
    assert_eq!(mira.get(&format!("/images/{image}/log")).await.location(), "/images");

    let made = BakedImage { cloud_ref: "img-2", base: "Debian", size: 5 };
    app.store.end_image(image, Ok(made)).await.unwrap();
    let main = events.until(|event| event.data.contains("<main id=\"main\"")).await;
    assert!(main.data.contains("<code>img-2</code>") && !main.data.contains("Baking now"));
    assert!(events.is_quiet().await);
    mira.post("/logout", &[]).await;
    assert_eq!(events.until(|event| event.event == "end").await.data, "signed out");
}

#[tokio::test]
async fn an_image_is_deleted_where_nothing_stands_on_it() {
    let app = spawn_app().await;
    let mut mira = app.person("mira", Role::Admin).await;
    mira.deploy("shop1").await;
    let deployment = app.live("shop1").await;
    let standing = app.found("shop1").await.instance.image.unwrap();
    let unused = good(&app, "img-2").await;
    let newest = good(&app, "img-3").await;
    app.store.want_bake(app.found("shop1").await.instance.owner, "digest").await.unwrap();
    let baking = app.store.newest_image().await.unwrap().unwrap().id;

    mira.get("/images").await;
    for (image, why) in [
        (standing, format!("The image of bake {standing} is needed: 1 instance stands on it")),
        (newest, format!("The image of bake {newest} is the newest good one")),
        (baking, format!("The image of bake {baking} is being baked.")),
    ] {
        let answer = mira.post(&format!("/images/{image}/delete"), &[]).await;
        assert_eq!(answer.status, StatusCode::CONFLICT);
        answer.has("<div class=\"note bad\" role=\"alert\"><h2>Nothing was deleted</h2>");
        answer.has(&why);
        answer.has_not("data-events");
        answer.has_not("http-equiv=\"refresh\"");
    }
    assert!(app.store.images_to_delete().await.unwrap().is_empty());
    let path = format!("/images/{unused}/delete");
    assert_eq!(mira.post_raw(&path, "csrf_token=wrong").await.status, StatusCode::FORBIDDEN);
    let get = mira.request(Method::GET, &path);
    assert_eq!(mira.send(get).await.status, StatusCode::METHOD_NOT_ALLOWED);
    mira.get("/images").await;
    for number in ["99", "x", "-1", "%00"] {
        let answer = mira.post(&format!("/images/{number}/delete"), &[]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{number}");
    }

    // Asked for twice, as by a double click; the cloud's part is not web's.
    assert_eq!(mira.post(&path, &[]).await.location(), "/images");
    assert_eq!(mira.post(&path, &[]).await.location(), "/images");
    let page = mira.get("/images").await;
    page.has("data-status=\"terminating\">deleting</span>");
    page.has_not(&format!("action=\"{path}\""));
    assert_eq!(app.store.images_to_delete().await.unwrap()[0].id, unused);
    app.store.image_deleted(unused).await.unwrap();
    mira.get("/images").await.has_not("img-2");
    assert_eq!(mira.get(&format!("/images/{unused}/log")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(mira.post(&path, &[]).await.location(), "/images");

    // Once its instance is gone the other may go too.
    let (row, _) = app.ids("shop1").await;
    app.store.want(row, Wanted::Absent).await.unwrap();
    app.store.set_status(row, Status::Terminating).await.unwrap();
    let why = ec_django_deployer::domain::Failure { step: None, message: "gone".to_owned() };
    app.store.machine_gone(row, &why).await.unwrap();
    mira.get("/images").await;
    assert_eq!(mira.post(&format!("/images/{standing}/delete"), &[]).await.status, StatusCode::SEE_OTHER);
    app.store.image_kept(standing, "A machine stands on the golden image image-1.").await.unwrap();
    mira.get("/images").await.has("A machine stands on the golden image image-1.");
    assert!(app.store.deployment(deployment).await.unwrap().is_some());
}

#[tokio::test]
async fn an_old_image_is_told_of_to_admins() {
    let app = spawn_app().await;
    let (mut mira, mut aiko) = (app.person("mira", Role::Admin).await, app.owner("aiko").await);
    good(&app, "img-1").await;
    for path in ["/images", "/instances"] {
        mira.get(path).await.has_not("The golden image is");
    }
    sql(&app, "UPDATE images SET finished_at = finished_at - 36 * 86400000").await;
    let page = mira.get("/instances").await;
    page.has("<h2>The golden image is 5 weeks old</h2>");
    page.has("<p>Bake a new one for fresh OS packages. <a href=\"/images\">Golden images</a></p>");
    let page = mira.get("/images").await;
    page.has("<h2>The golden image is 5 weeks old</h2>");
    page.has("<p>Bake a new one for fresh OS packages.</p>");
    mira.deploy("shop1").await;
    let page = mira.get("/instances").await;
    page.has("5 weeks old");
    let mut events = mira.events("/events?whose=everyone", None).await;
    assert!(events.until(|event| event.event == "fragment").await.data.contains("5 weeks old"));
    aiko.get("/instances").await.has_not("weeks old");

    sql(&app, "UPDATE images SET finished_at = finished_at + 36 * 86400000, script = 'another'").await;
    mira.get("/images").await.has("The golden image was baked by an older script");
    good(&app, "img-2").await;
    mira.get("/instances").await.has_not("The golden image");
    let told = events.until(|event| !event.data.contains("The golden image")).await;
    assert!(told.data.contains("id=\"main\""), "{told:?}");
}

#[tokio::test]
async fn an_image_of_before_sizes_were_noted_has_none() {
    let app = spawn_app().await;
    let mut mira = app.person("mira", Role::Admin).await;
    good(&app, "img-1").await;
    sql(&app, "UPDATE images SET size = NULL, finished_at = NULL").await;
    let page = mira.get("/images").await;
    page.has("<td role=\"cell\" data-label=\"Size\" class=\"num\"></td>");
    assert_eq!(mira.get("/images/1/log").await.status, StatusCode::OK);
}
