//! The sweep over the table of pages.

use std::{
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use base64::Engine;
use fantoccini::{Client, Locator, error::CmdError};
use serde_json::{Value, json};

use crate::{
    driver::{Driver, console, devtools},
    keyboard,
    pages::{
        Do::{Send, Type},
        PAGES, Page,
    },
    world::{Of, World},
};

/// A window's width and the colours that a system asks for.
const LOOKS: [(u32, &str); 4] = [(1280, "light"), (1280, "dark"), (360, "light"), (360, "dark")];

/// The script that looks for barriers.
fn axe() -> String {
    let path = std::env::var_os("EC_TEST_AXE").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/../axe-4.14.1/axe.min.js")),
        PathBuf::from,
    );
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; scripts/setup.sh test fetches it", path.display()))
}

/// What is wrong with the pages, each a line.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn note(&mut self, page: &Page, look: &str, what: impl std::fmt::Display) {
        let done = if page.does.is_empty() { "" } else { " after its form" };
        self.0.push(format!("{:?} {:?} {}{done}, {look}: {what}", page.of, page.seen_by, page.path));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_in_every_look_has_no_barrier_no_error_and_no_overflow() {
    let (world, driver) = (World::new().await, Driver::start());
    for scripts in [true, false] {
        let began = Instant::now();
        // Two browsers, each with every second page: while the one renders, the other is asked.
        let (odd, even) =
            tokio::join!(sweep(&world, &driver, 0, scripts), sweep(&world, &driver, 1, scripts));
        tell(scripts, odd.1 + even.1, began);
        let found = [odd.0.0, even.0.0].concat();
        assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
    }
}

/// Looks at every second page from the first or second on: what is wrong, and how many looks it took.
async fn sweep(world: &World, driver: &Driver, from: usize, scripts: bool) -> (Found, usize) {
    let (browser, axe) = (driver.browser().await, axe());
    let (mut found, mut looked) = (Found::default(), 0);
    if !scripts {
        devtools(&browser, "Emulation.setScriptExecutionDisabled", json!({"value": true})).await.unwrap();
    }
    for page in PAGES.iter().skip(from).step_by(2) {
        let outcome = match scripts {
            true => with_scripts(&browser, world, page, &axe, &mut found).await,
            false => without_scripts(&browser, world, page, &mut found).await,
        };
        looked += outcome.unwrap_or_else(|error| panic!("{page:?}, scripts {scripts}: {error}"));
    }
    browser.close().await.unwrap();
    (found, looked)
}

/// Says what was done, past the capture of a test that succeeds.
fn tell(scripts: bool, looked: usize, began: Instant) {
    let how = if scripts { "with JavaScript" } else { "without JavaScript" };
    let (pages, seconds) = (PAGES.len(), began.elapsed().as_secs());
    let _ = writeln!(std::io::stderr(), "{how}: {pages} pages, {looked} looks, {seconds} s");
}

/// Opens a page as its person, does what is to be done, and checks its status and words.
async fn open(
    browser: &Client,
    world: &World,
    page: &Page,
    found: &mut Found,
    how: &str,
) -> Result<(), CmdError> {
    let place = world.place(page.of);
    let url = &place.app.url;
    devtools(browser, "Network.clearBrowserCookies", json!({})).await?;
    for (name, value) in place.cookies(page.seen_by) {
        devtools(browser, "Network.setCookie", json!({"name": name, "value": value, "url": url})).await?;
    }
    look_at(browser, LOOKS[0]).await?;
    let path = match (page.of, page.path) {
        (Of::Fresh, "/setup") => place.app.site.setup_link(),
        (_, "/password") => format!("{url}{}", place.link),
        (_, path) => format!("{url}{path}"),
    };
    browser.goto(&path).await?;
    for act in page.does {
        match act {
            Type(name, text) => {
                static NUMBER: AtomicUsize = AtomicUsize::new(1);
                let number = NUMBER.fetch_add(1, Ordering::Relaxed).to_string();
                let text = text.replace("{n}", &number);
                let script = "for (const field of document.getElementsByName(arguments[0])) field.value = arguments[1]";
                browser.execute(script, vec![json!(name), json!(text)]).await?;
            }
            Send(action) => {
                let script = "document.querySelectorAll('form').forEach(form => form.noValidate = true);";
                browser.execute(script, vec![]).await?;
                let button = format!("form[action=\"{action}\"] button, form[action^=\"{action}?\"] button");
                browser.find(Locator::Css(&button)).await?.click().await?;
            }
        }
    }
    let script = "return [performance.getEntriesByType('navigation')[0].responseStatus,
                          document.querySelector('main').textContent]";
    for _ in 0..100 {
        let now = browser.execute(script, vec![]).await;
        // A form that was sent may still be on its way.
        if now
            .as_ref()
            .is_ok_and(|now| now[0] == page.status && now[1].as_str().unwrap_or("").contains(page.says))
        {
            return begins_where_it_is_wrong(browser, page, found, how).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let now = browser.execute(script, vec![]).await?;
    found.note(page, how, format!("not {} with {:?} but {} {}", page.status, page.says, now[0], now[1]));
    Ok(())
}

/// A form that came back has the focus in its first field that is to be changed.
async fn begins_where_it_is_wrong(
    browser: &Client,
    page: &Page,
    found: &mut Found,
    how: &str,
) -> Result<(), CmdError> {
    let script = "return (document.querySelector('[aria-invalid=true]') ?? document.activeElement).id
                      + '=' + document.activeElement.id";
    let ids = browser.execute(script, vec![]).await?;
    let (wrong, focused) = ids.as_str().and_then(|ids| ids.split_once('=')).unwrap_or_default();
    if wrong != focused {
        found.note(page, how, format!("the focus is on {focused:?} and not on {wrong:?}"));
    }
    Ok(())
}

/// Makes the window so wide, and the system so light or dark.
async fn look_at(browser: &Client, (width, colours): (u32, &str)) -> Result<(), CmdError> {
    let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
    devtools(browser, "Emulation.setDeviceMetricsOverride", size).await?;
    let features = json!({"features": [
        {"name": "prefers-color-scheme", "value": colours},
        {"name": "prefers-reduced-motion", "value": "reduce"},
    ]});
    devtools(browser, "Emulation.setEmulatedMedia", features).await?;
    Ok(())
}

/// How much wider the content is than the window.
async fn overflow(browser: &Client) -> Result<f64, CmdError> {
    let metrics = devtools(browser, "Page.getLayoutMetrics", json!({})).await?;
    let wide = |part: &str, key: &str| metrics[part][key].as_f64().unwrap_or(f64::NAN);
    Ok(wide("cssContentSize", "width") - wide("cssLayoutViewport", "clientWidth"))
}

async fn with_scripts(
    browser: &Client,
    world: &World,
    page: &Page,
    axe: &str,
    found: &mut Found,
) -> Result<usize, CmdError> {
    open(browser, world, page, found, "with JavaScript").await?;
    browser.execute(axe, vec![]).await?;
    for look in LOOKS {
        look_at(browser, look).await?;
        let (wider, barriers) = (overflow(browser).await?, barriers(browser, look.1).await?);
        let look = format!("{} px, {}", look.0, look.1);
        if wider != 0.0 {
            found.note(page, &look, format!("{wider} px too wide"));
        }
        for barrier in barriers {
            found.note(page, &look, barrier);
        }
        keep_picture(browser, page, &look).await?;
    }
    // In the narrow window, which it was last.
    for wrong in keyboard::walk(browser).await? {
        found.note(page, "by keyboard", wrong);
    }
    for message in complaints(browser, page.status).await? {
        found.note(page, "console", message);
    }
    Ok(LOOKS.len())
}

/// Keeps a picture of the page, of its first 8000 px, in the directory `EC_TEST_PICTURES`, where that is set.
async fn keep_picture(browser: &Client, page: &Page, look: &str) -> Result<(), CmdError> {
    let Some(directory) = std::env::var_os("EC_TEST_PICTURES") else { return Ok(()) };
    let metrics = devtools(browser, "Page.getLayoutMetrics", json!({})).await?;
    let size = |side: &str| metrics["cssContentSize"][side].as_f64().unwrap_or_default().min(8000.0);
    let clip = json!({"x": 0, "y": 0, "width": size("width"), "height": size("height"), "scale": 1});
    let whole = json!({"captureBeyondViewport": true, "clip": clip});
    let picture = devtools(browser, "Page.captureScreenshot", whole).await?;
    let picture = base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
    let number = PAGES.iter().position(|other| std::ptr::eq(other, page)).unwrap();
    let name = format!("{number:03} {:?}{} {look}.png", page.of, page.path.replace(['/', '?'], " "));
    std::fs::write(PathBuf::from(directory).join(name), picture).unwrap();
    Ok(())
}

/// What axe-core, which is on the page, finds; in the dark only of its colours, since nothing else is another there.
async fn barriers(browser: &Client, colours: &str) -> Result<Vec<String>, CmdError> {
    let run = "const [colours, done] = arguments, rules = {resultTypes: ['violations']};
               if (colours === 'dark') rules.runOnly = {type: 'rule', values: ['color-contrast', 'link-in-text-block']};
               axe.run(document, rules).then(
                   results => done(results.violations.flatMap(rule => rule.nodes.map(
                       node => rule.id + ': ' + node.target.join(' ') + ': ' + node.failureSummary))),
                   error => done(['axe itself: ' + error]));";
    let found = browser.execute_async(run, vec![json!(colours)]).await?;
    let found = found.as_array().expect("a list");
    Ok(found.iter().map(|barrier| barrier.as_str().unwrap_or_default().replace('\n', " ")).collect())
}

/// The errors and warnings on the console, but that a page of this status was an error itself.
async fn complaints(browser: &Client, status: u16) -> Result<Vec<String>, CmdError> {
    let itself = |message: &str| status >= 400 && message.contains(&format!("a status of {status}"));
    let messages = console(browser).await?.into_iter();
    let bad = messages.filter(|(level, text)| matches!(&**level, "SEVERE" | "WARNING") && !itself(text));
    Ok(bad.map(|(level, text)| format!("{level}: {text}")).collect())
}

async fn without_scripts(
    browser: &Client,
    world: &World,
    page: &Page,
    found: &mut Found,
) -> Result<usize, CmdError> {
    open(browser, world, page, found, "without JavaScript").await?;
    for (width, colours) in LOOKS {
        look_at(browser, (width, colours)).await?;
        let wider = overflow(browser).await?;
        if wider != 0.0 {
            found.note(
                page,
                &format!("{width} px, {colours}, without JavaScript"),
                format!("{wider} px too wide"),
            );
        }
    }
    let script = "return [document.querySelector('meta[http-equiv=refresh]') !== null,
        [...document.querySelectorAll('[data-copy], label:has([data-follow])')].some(el => el.checkVisibility())]";
    let seen = browser.execute(script, vec![]).await?;
    if seen[0] != page.moves {
        found.note(page, "without JavaScript", format!("reloads itself: {}", seen[0]));
    }
    if seen[1] == Value::Bool(true) {
        found.note(page, "without JavaScript", "shows what only a script can serve");
    }
    Ok(LOOKS.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_page_is_found() {
    let world = World::new().await;
    let driver = Driver::start();
    let browser = driver.browser().await;
    let (page, mut found) = (&PAGES[0], Found::default());
    open(&browser, &world, page, &mut found, "with JavaScript").await.unwrap();
    browser.execute(&axe(), vec![]).await.unwrap();
    let spoil = "document.querySelector('label').remove();
                 document.querySelector('h1').style.color = '#fefefe';
                 document.querySelector('main').style.minWidth = '700px';
                 document.querySelector('#password').style.outline = 'none';
                 document.querySelector('button').tabIndex = -1;
                 console.error('spoilt');
                 document.body.append(Object.assign(document.createElement('script'), {textContent: '1'}))";
    browser.execute(spoil, vec![]).await.unwrap();
    look_at(&browser, (360, "light")).await.unwrap();
    assert_eq!(overflow(&browser).await.unwrap(), 340.0);
    let barriers = barriers(&browser, "light").await.unwrap().join("\n");
    assert!(barriers.contains("label: #username") && barriers.contains("color-contrast: h1"), "{barriers}");
    let walked = keyboard::walk(&browser).await.unwrap().join("\n");
    assert!(walked.contains("cannot be seen on \"<input id=\\\"password"), "{walked}");
    assert!(walked.contains("not reached by Tab: \"<button"), "{walked}");
    look_at(&browser, (360, "dark")).await.unwrap();
    browser.execute("document.querySelector('h1').style.color = '#0a0a0a'", vec![]).await.unwrap();
    let dark = self::barriers(&browser, "dark").await.unwrap().join("\n");
    assert!(dark.contains("color-contrast: h1") && !dark.contains("label"), "{dark}");
    let complaints = complaints(&browser, 200).await.unwrap().join("\n");
    assert!(complaints.contains("spoilt") && complaints.contains("Content Security Policy"), "{complaints}");
    assert!(found.0.is_empty(), "{:?}", found.0);
    browser.close().await.unwrap();
}
