//! What a kind of repository is: how it differs from the shop, and what is to come of it.

/// A kind of repository that people have.
pub struct Kind {
    /// The name of its repository and of its instance.
    pub name: &'static str,
    /// What is peculiar about it, in a few words.
    pub what: &'static str,
    /// How it differs from the shop of `tests/machines/kinds/shop`.
    pub edits: &'static [Edit],
    /// What its owner types besides the two inputs.
    pub typed: &'static [(&'static str, &'static str)],
    pub comes: Comes,
    /// What its page says of it.
    pub told: &'static [&'static str],
}

/// A change of the repository.
pub enum Edit {
    /// Writes a file.
    Write(&'static str, &'static str),
    /// Writes a file as PowerShell does: UTF-16 with a byte-order mark.
    Utf16(&'static str, &'static str),
    /// Replaces a text that a file has.
    Replace(&'static str, &'static str, &'static str),
    /// Puts a text behind a file's last line.
    Append(&'static str, &'static str),
    /// Renames a file or directory.
    Move(&'static str, &'static str),
    /// Removes a file or directory.
    Remove(&'static str),
}

/// What is to come of it.
pub enum Comes {
    /// Live, the shop's page at `/` with its CSS, and the admin with its own.
    Live,
    /// Live, with no page at `/` but the admin's.
    LiveWithoutHome,
    /// The form asks for these variables; with them it is live as any.
    LiveOnce(&'static [(&'static str, &'static str)]),
    /// The step fails, and the page tells the cause.
    Fails(&'static str),
    /// Nothing is launched: the form says why.
    Refused,
}
