//! The repository changed after it was looked at, or cannot be read any more. Where packages are installed, git says the
//! same of theirs.

use super::{Level, Page, Row, Words, first, install, quoted};

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[r"couldn't find remote ref (\S+)", r"Remote branch (\S+) not found in upstream"],
        level: Level::Particular,
        words: |found, context| {
            if context.installs() {
                return install::not_fetched(context);
            }
            Words::new(
                format!("The branch {} is gone.", quoted(first(found).trim_start_matches("refs/heads/"))),
                format!("choose another branch on the page Edit, then {}", context.again()),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[
            r"What was checked out is not the commit (\w+)",
            r"not our ref (\w+)",
            r"reference is not a tree: (\w+)",
            r"unable to read tree \(?(\w+)",
        ],
        level: Level::Particular,
        words: |_, context| {
            if context.installs() {
                return install::not_fetched(context);
            }
            Words::new(
                "The commit that was looked at is not in the repository any more: it was pushed over.",
                format!("{} That takes the newest commit of the branch.", context.again()),
            )
        },
    },
    Row {
        patterns: &[
            r"could not read (?:Username|Password) for",
            r"Authentication failed for",
            r"[Rr]epository (?:'[^']*' )?not found",
            r"The requested URL returned error: (?:401|403|404)",
        ],
        level: Level::Particular,
        words: |_, context| {
            if context.installs() {
                return install::not_fetched(context);
            }
            Words::new(
                "The repository is gone, or not public any more.",
                format!(
                    "make it public again, or name another one on the page Edit, then {}",
                    context.again()
                ),
            )
            .on(Page::Edit)
        },
    },
    Row {
        patterns: &[
            r"git-lfs: (?:command )?not found|git lfs|git-lfs filter-process|version https://git-lfs\.github\.com",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The repository keeps files in Git LFS, which is not fetched; what the project reads is only a pointer.",
                format!("commit the files that the site needs as plain files, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"[Ff]ile name too long|invalid path '([^']+)'|unable to create file (\S+)"],
        level: Level::Particular,
        words: |found, context| {
            let named = match first(found) {
                "" => String::new(),
                name => format!(": {}", quoted(name)),
            };
            Words::new(
                format!("A file of the repository has a name that cannot be written on Linux{named}."),
                format!("give it a shorter, plain name, {}", context.push()),
            )
        },
    },
];
