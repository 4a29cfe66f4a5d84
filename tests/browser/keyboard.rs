//! A person with a keyboard and no mouse.

use fantoccini::{Client, error::CmdError, key::Key};
use serde_json::json;

/// Types into whatever has the focus.
pub async fn keys(browser: &Client, text: &str) -> Result<(), CmdError> {
    browser.active_element().await?.send_keys(text).await
}

/// Presses one key.
pub async fn press(browser: &Client, key: Key) -> Result<(), CmdError> {
    keys(browser, &char::from(key).to_string()).await
}

/// Presses Tab until the focus is on what `css` means. Wherever it stops on the way can be seen.
pub async fn tab_to(browser: &Client, css: &str) -> Result<(), CmdError> {
    let mut way = Vec::new();
    for _ in 0..40 {
        press(browser, Key::Tab).await?;
        let script = "const el = document.activeElement, style = getComputedStyle(el), box = el.getBoundingClientRect();
            return [el.matches(arguments[0]), el.outerHTML.slice(0, 120),
                    el === document.body || style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1
                    && box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight
                    && box.right > 0 && box.left < innerWidth]";
        let now = browser.execute(script, vec![json!(css)]).await?;
        assert_eq!(now[2], true, "the focus cannot be seen on {}", now[1]);
        if now[0] == true {
            return Ok(());
        }
        way.push(now[1].to_string());
    }
    panic!("{css} is not reached by Tab, which stops at:\n{}", way.join("\n"));
}
