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

/// The focus and whether it can be seen: an outline, on it or on what it is a part of, in the window.
const FOCUS: &str = "const el = document.activeElement, box = el.getBoundingClientRect();
    const outlined = el => el && getComputedStyle(el).outlineStyle !== 'none' && parseFloat(getComputedStyle(el).outlineWidth) >= 1;
    const seen = el === document.body || (outlined(el) || outlined(el.closest('label, li, tr')))
        && box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
    (window.stops ??= new Set()).add(el);";

/// Presses Tab until the focus is on what `css` means. Wherever it stops on the way can be seen.
pub async fn tab_to(browser: &Client, css: &str) -> Result<(), CmdError> {
    let mut way = Vec::new();
    for _ in 0..40 {
        press(browser, Key::Tab).await?;
        let script = format!("{FOCUS} return [el.matches(arguments[0]), el.outerHTML.slice(0, 120), seen]");
        let now = browser.execute(&script, vec![json!(css)]).await?;
        assert_eq!(now[2], true, "the focus cannot be seen on {}", now[1]);
        if now[0] == true {
            return Ok(());
        }
        way.push(now[1].to_string());
    }
    panic!("{css} is not reached by Tab, which stops at:\n{}", way.join("\n"));
}

/// Presses Tab through the whole page: what cannot be seen where it stops, and what it never reaches.
pub async fn walk(browser: &Client) -> Result<Vec<String>, CmdError> {
    // A user's name that is there for password managers alone is passed over; of radio buttons one is stopped at.
    let all = "[...document.querySelectorAll('a[href], button, input, select, textarea, summary')]
        .filter(el => el.checkVisibility({visibilityProperty: true}) && !el.disabled && el.type !== 'hidden' && !(el.readOnly && el.tabIndex < 0)
            && (el.type !== 'radio' || el.checked || !document.querySelector(`[name=${el.name}]:checked`)))";
    let count = browser.execute(&format!("return {all}.length"), vec![]).await?;
    let mut wrong = Vec::new();
    // Once around, with the window's own stop, and what has the focus at the beginning.
    for _ in 0..count.as_u64().unwrap_or_default() + 3 {
        press(browser, Key::Tab).await?;
        let script = format!("{FOCUS} return [el.outerHTML.slice(0, 120), seen]");
        let now = browser.execute(&script, vec![]).await?;
        if now[1] != true {
            wrong.push(format!("the focus cannot be seen on {}", now[0]));
        }
    }
    let script =
        format!("return {all}.filter(el => !window.stops.has(el)).map(el => el.outerHTML.slice(0, 120))");
    for element in browser.execute(&script, vec![]).await?.as_array().into_iter().flatten() {
        wrong.push(format!("not reached by Tab: {element}"));
    }
    Ok(wrong)
}
