//! What a person typed and must not be shown again, kept over a form that comes back: sealed for that person in a hidden
//! field, so that nobody has to type it twice and no page has it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::web::auth::Visit;

/// Most bytes of a form that variables are typed into: all that an instance may have, and as much again for how browsers
/// encode it. More would not arrive in time on a bad line.
pub const FORM_MAX: usize = 512 * 1024;

fn place(visit: &Visit) -> String {
    format!("typed by {}", visit.user.id.0)
}

/// A value as it was meant where it was typed: browsers send line breaks as two characters, and one behind a single line
/// came with pasting it, or with the Enter that was to send the form.
pub fn typed(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    match text.trim_end_matches('\n') {
        line if line.contains('\n') => text,
        line => line.to_owned(),
    }
}

/// The value for a hidden field; nothing for nothing.
pub fn sealed(visit: &Visit, typed: &str) -> String {
    if typed.is_empty() {
        return String::new();
    }
    URL_SAFE_NO_PAD.encode(visit.site.store.vault().seal(&place(visit), typed.as_bytes()))
}

/// What a hidden field holds, where it was made for this person.
pub fn opened(visit: &Visit, field: &str) -> Option<String> {
    let sealed = URL_SAFE_NO_PAD.decode(field).ok()?;
    visit.site.store.vault().open_text(&place(visit), &sealed).ok()
}
