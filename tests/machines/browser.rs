//! A real browser and a keyboard: Chromium signs in, deploys the sample and follows the link, without a click.

use std::time::Duration;

use fantoccini::{Client, Locator, key::Key};

use crate::{
    driver::{Driver, console},
    keyboard::{keys, press, tab_to},
    site::Site,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_keyboard_signs_in_deploys_the_sample_and_follows_the_link() {
    let (site, _mira) = Site::start("browser").await;
    let driver = Driver::start();
    let browser = driver.browser().await;
    let journey = deploy_by_hand(&browser, &site).await;
    let shot = browser.screenshot().await;
    browser.close().await.unwrap();
    if let Err(error) = journey {
        let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/browser.png");
        let _ = shot.map(|png| std::fs::write(path, png));
        panic!("{error}; the page it happened on is {path}");
    }
}

/// Whether the focus is on what `css` means.
async fn is_on(browser: &Client, css: &str) -> Result<bool, fantoccini::error::CmdError> {
    let script = "return document.activeElement.matches(arguments[0])";
    Ok(browser.execute(script, vec![css.into()]).await? == true)
}

async fn deploy_by_hand(browser: &Client, site: &Site) -> Result<(), fantoccini::error::CmdError> {
    let wait = || browser.wait().at_most(Duration::from_secs(180));
    browser.goto(&format!("{}/", site.url)).await?;
    assert!(is_on(browser, "#username").await?, "one can begin to type");
    keys(browser, "mira").await?;
    tab_to(browser, "#password").await?;
    keys(browser, "correct horse battery").await?;
    press(browser, Key::Enter).await?;

    // The first stop of a page leads past its navigation.
    wait().for_element(Locator::LinkText("Try the sample")).await?;
    tab_to(browser, ".skip").await?;
    press(browser, Key::Enter).await?;
    press(browser, Key::Tab).await?;
    assert!(is_on(browser, "main *").await?, "the next stop is in the content");
    tab_to(browser, "a[href*=sample]").await?;
    press(browser, Key::Enter).await?;

    // The fold opens, and what is wrong in it has the focus when the form comes back.
    wait().for_element(Locator::Css("details summary")).await?;
    tab_to(browser, "details summary").await?;
    press(browser, Key::Enter).await?;
    wait().for_element(Locator::Css("details[open]")).await?;
    tab_to(browser, "#name").await?;
    keys(browser, "Two Words").await?;
    tab_to(browser, "form.card button").await?;
    press(browser, Key::Enter).await?;
    wait().for_element(Locator::Css("details[open] #name[aria-invalid=true]")).await?;
    assert!(is_on(browser, "#name").await?, "the first field that is wrong has the focus");
    keys(browser, &String::from(char::from(Key::End))).await?;
    keys(browser, &String::from(char::from(Key::Backspace)).repeat(9)).await?;
    keys(browser, "by-hand").await?;
    press(browser, Key::Enter).await?;

    // From here on no key is pressed and nothing reloaded: the page follows the deployment by itself.
    wait().for_element(Locator::Css("#status[data-status=deploying]")).await?;
    wait().for_element(Locator::Css("#steps li[data-state=done]")).await?;
    wait().for_element(Locator::Css("#status[data-status=live]")).await?;
    let address = wait().for_element(Locator::Id("url")).await?.text().await?;
    // A refused form is told as an error by the browser, and nothing else is.
    let said: Vec<_> =
        console(browser).await?.into_iter().filter(|(_, text)| !text.contains("status of 422")).collect();
    assert!(said.is_empty(), "the console is quiet: {said:?}");
    tab_to(browser, "#url").await?;
    press(browser, Key::Enter).await?;
    wait().for_url(&address.parse().expect("an address")).await?;
    let heading = browser.find(Locator::Css("h1")).await?.text().await?;
    assert_eq!(heading.to_lowercase(), "guestbook");
    Ok(())
}
