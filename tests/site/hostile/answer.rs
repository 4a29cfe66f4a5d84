//! What every answer to hostile input has, and has not.

use crate::helpers::Answer;

/// A client's fault is told: a page, or JSON for programs, with a sentence in it.
#[track_caller]
pub fn is_told(answer: &Answer, what: &str) {
    let status = answer.status;
    assert!(status.is_client_error(), "{what}: {status}\n{}", answer.body);
    let kind = answer.header("content-type");
    let text = if kind.starts_with("application/json") {
        answer.json()["error"].as_str().unwrap_or_default().to_owned()
    } else {
        assert!(kind.starts_with("text/html"), "{what}: {status} as {kind:?}\n{}", answer.body);
        assert!(answer.body.contains("<h1>"), "{what}: no heading:\n{}", answer.body);
        without_tags(answer.body.split_once("<main").map_or("", |(_, main)| main))
    };
    let words = |sentence: &str| sentence.split_whitespace().count();
    // The last part has no end: it is no sentence.
    let mut parts: Vec<_> = text.split_inclusive(". ").collect();
    if parts.last().is_some_and(|last| !last.trim_end().ends_with('.')) {
        parts.pop();
    }
    assert!(parts.into_iter().any(|part| words(part) >= 4), "{what}: {status} without a sentence:\n{text}");
}

fn without_tags(html: &str) -> String {
    let parts = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    parts.collect::<Vec<_>>().join(" ").split_whitespace().collect::<Vec<_>>().join(" ") + " "
}

/// Nothing of what was sent has become markup, a header or a cookie.
#[track_caller]
pub fn shows_no_markup(answer: &Answer, what: &str) {
    assert!(answer.status.as_u16() < 500, "{what}: {}\n{}", answer.status, answer.body);
    let page = answer.header("content-type").starts_with("text/html");
    for bad in ["<script>alert", "<img src=x", "<%=", ">9359<"] {
        assert!(!page || !answer.body.contains(bad), "{what}: {bad} in\n{}", answer.body);
    }
    assert!(answer.headers.get("x-injected").is_none(), "{what}");
    for cookie in answer.headers.get_all("set-cookie") {
        assert!(cookie.to_str().unwrap().starts_with("ec-"), "{what}: {cookie:?}");
    }
}

/// The field has what was typed, escaped.
#[track_caller]
pub fn keeps_what_was_typed(answer: &Answer, field: &str, typed: &str, what: &str) {
    let tags = answer.body.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap());
    let mut values = tags
        .filter(|tag| tag.contains(&format!(" name=\"{field}\"")))
        .map(|tag| tag.split_once(" value=\"").map_or("", |(_, rest)| rest.split('"').next().unwrap()));
    let value = values.next().unwrap_or_else(|| panic!("{what}: no field in\n{}", answer.body));
    let shown = ["&#60;", "&#62;", "&#34;", "&#39;", "&#38;"]
        .into_iter()
        .zip(["<", ">", "\"", "'", "&"])
        .fold(value.to_owned(), |text, (entity, character)| text.replace(entity, character));
    // A name in the form is trimmed where it is shown again.
    assert!(shown == typed || shown == typed.trim(), "{what}: {shown:?} instead of {typed:?}");
}
