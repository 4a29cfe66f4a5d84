//! Repositories as people have them, each deployed on a machine of its own with the two inputs, two at a time.
//!
//! Each is the shop of this folder with what is peculiar to its kind. `docs/real-projects.md` has the table.

mod kind;
mod more;
mod table;

use std::{io::Write, time::Instant};

use futures_util::{StreamExt, stream};
use kind::{Comes, Edit, Kind};
use reqwest::StatusCode;
use serde_json::Value;

use crate::{
    person::{Page, Person},
    repository::Repository,
    sample::stylesheets,
    site::Site,
};

/// Machines at once: two cores deploy two projects in the time of one and a half.
const AT_ONCE: usize = 2;
/// Longest a deployment takes on a busy host, in seconds.
const LONGEST: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
async fn dependencies_are_found_read_inferred_and_repaired() {
    all_come_up("kinds-a", &table::DEPENDENCIES, &more::DEPENDENCIES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_every_kind_are_found_and_let_visitors_in() {
    all_come_up("kinds-b", &table::SETTINGS_KINDS, &more::MADE_BY_OTHERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_old_pins_and_pages_come_up_or_say_why_not() {
    all_come_up("kinds-c", &table::OTHERS, &more::OLD).await;
}

/// Deploys every kind, and `more` where all are wanted, and tells of all that did not come as it should.
async fn all_come_up(site: &str, kinds: &[Kind], more: &[Kind]) {
    let more = if std::env::var_os("EC_TEST_ALL").is_some() { more } else { &[] };
    let kinds: Vec<_> = kinds.iter().chain(more).collect();
    let (site, mira) = Site::start(site).await;
    let (site, mira) = (&site, &mira);
    let came = stream::iter(&kinds)
        .map(|kind| async move {
            let begin = Instant::now();
            let came = comes(site, mira, kind).await;
            let seconds = begin.elapsed().as_secs_f64();
            // Past the test's own capture: the table of the kinds is wanted where all is well, too.
            let _ = writeln!(
                std::io::stdout(),
                "{:<16} {:<80} {} {seconds:.1} s",
                kind.name,
                kind.what,
                if came.is_ok() { "ok" } else { "NOT" }
            );
            came.map_err(|why| format!("{} ({}): {why}", kind.name, kind.what))
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    let wrong: Vec<_> = came.into_iter().filter_map(Result::err).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), kinds.len(), wrong.join("\n\n"));
}

/// Deploys one kind as its owner would; what is not as it should be, where anything is not.
async fn comes(site: &Site, mira: &Person, kind: &Kind) -> Result<(), String> {
    let url = repository(site, kind).url;
    let fields = [("github_url", url.as_str()), ("project_name", "shop"), ("name", kind.name)];
    let fields: Vec<_> = fields.into_iter().chain(kind.typed.iter().copied()).collect();
    let answer = mira.post("/instances/new", &fields).await;
    let answer = match kind.comes {
        Comes::Refused => {
            is(answer.status, StatusCode::UNPROCESSABLE_ENTITY, &answer)?;
            return has(&answer.text, kind.told);
        }
        Comes::LiveOnce(values) => {
            is(answer.status, StatusCode::UNPROCESSABLE_ENTITY, &answer)?;
            let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
            has(&answer.text, &names)?;
            let fields: Vec<_> = fields.iter().chain(values).copied().collect();
            mira.post("/instances/new", &fields).await
        }
        _ => answer,
    };
    is(answer.status, StatusCode::SEE_OTHER, &answer)?;
    let info = ended(mira, kind.name).await?;
    let page = mira.get(&format!("/instances/{}", kind.name)).await.text;
    let seen = match kind.comes {
        Comes::Fails(step) if info["status"] == "failed" && info["error"]["step"] == step => {
            has(&page, kind.told)
        }
        Comes::Live | Comes::LiveOnce(_) if info["status"] == "live" => seen(&info, "/").await,
        Comes::LiveWithoutHome if info["status"] == "live" => seen(&info, "/teapots/").await,
        _ => Err("something else came of it".to_owned()),
    };
    let seen = seen.and_then(|()| has(&page, kind.told));
    if let Err(why) = seen {
        let log = mira.get(&format!("/instances/{}/log", kind.name)).await.text;
        return Err(format!("{why}\n{info:#}\n{log}"));
    }
    mira.terminate(kind.name).await;
    Ok(())
}

/// A visitor's look at the shop: its page with its CSS, the admin's login with its own.
async fn seen(info: &Value, home: &str) -> Result<(), String> {
    let visitor = Person::new(&format!("http://{}", info["public_ip"].as_str().unwrap_or_default()));
    let first = visitor.get(home).await;
    is(first.status, StatusCode::OK, &first)?;
    has(&first.text, &["The shop is open", "Teapot"])?;
    let login = visitor.get("/admin/login/").await;
    is(login.status, StatusCode::OK, &login)?;
    for page in [&first, &login] {
        let sheets = stylesheets(&page.text);
        if sheets.is_empty() {
            return Err(format!("a page without a stylesheet:\n{}", page.text));
        }
        for sheet in sheets {
            let css = visitor.get(&sheet).await;
            is(css.status, StatusCode::OK, &css)?;
        }
    }
    Ok(())
}

/// Waits until the instance is live or failed.
async fn ended(mira: &Person, name: &str) -> Result<Value, String> {
    let begin = Instant::now();
    loop {
        let info = mira.info(name).await;
        if matches!(info["status"].as_str(), Some("live" | "failed")) {
            return Ok(info);
        }
        if begin.elapsed().as_secs() > LONGEST {
            return Err(format!("it is still on the way after {LONGEST} s: {info:#}"));
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
}

fn is(status: StatusCode, expected: StatusCode, page: &Page) -> Result<(), String> {
    if status == expected { Ok(()) } else { Err(format!("{status} and not {expected}:\n{}", page.text)) }
}

fn has(text: &str, parts: &[&str]) -> Result<(), String> {
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("nothing is said of {part:?}:\n{text}")),
    }
}

/// The repository of a kind: the shop, edited.
fn repository(site: &Site, kind: &Kind) -> Repository {
    let repository = Repository::unpublished(site, kind.name, "tests/machines/kinds/shop");
    for edit in kind.edits {
        match *edit {
            Edit::Write(path, text) => repository.write(path, text.as_bytes()),
            Edit::Utf16(path, text) => {
                let text = format!("\u{feff}{text}");
                repository.write(path, &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
            }
            Edit::Replace(path, from, to) => {
                let text = repository.read(path);
                assert!(text.contains(from), "{path} of {} has no {from:?}", kind.name);
                repository.write(path, text.replace(from, to).as_bytes());
            }
            Edit::Append(path, text) => {
                repository.write(path, (repository.read(path) + text).as_bytes());
            }
            Edit::Move(from, to) => repository.rename(from, to),
            Edit::Remove(path) => repository.remove(path),
        }
    }
    repository.commit("First", &[]);
    repository
}
