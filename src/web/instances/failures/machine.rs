//! The machine: its disk, memory, network and time.

use super::{Context, Level, Page, Row, Words, code_of, first, quoted};
use crate::domain::Step;

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r"No space left on device|Errno 28\b|[Dd]isk quota exceeded|[Dd]isk (?:is )?full|database or disk is full",
        ],
        level: Level::Particular,
        words: |_, _| {
            Words::new(
                "The machine's disk is full.",
                "terminate the instance and deploy it again; if the project installs very large packages (`torch`, `tensorflow`), choose smaller ones, as those for CPU alone.",
            )
        },
    },
    Row {
        patterns: &[
            r"^\s*MemoryError\b",
            r"Cannot allocate memory|Errno 12\b|std::bad_alloc",
            r"fatal error: Killed signal terminated program",
            r"Perhaps out of memory\?|machine ran out of memory",
            r"^\s*Killed\s*$",
            r"(?:signal|SIGNAL):? (?:9|SIGKILL)\b|exit status:? 137|exit code:? (?:137|-9)\b|died with <Signals\.SIGKILL",
        ],
        level: Level::Particular,
        words: |_, context| out_of_memory(context),
    },
    Row {
        patterns: &[r"[Ii]t took longer than (\d+) seconds|took longer than"],
        level: Level::Particular,
        words: |_, context| too_long(context),
    },
    Row {
        patterns: &[
            r"Temporary failure in name resolution|Could not resolve host|Network is unreachable|No route to host",
            r"dns error|error sending request|Connection reset by peer|[Ff]ailed to fetch: `https?://|operation timed out",
            r"Connection timed out|ReadTimeoutError|Read timed out|RemoteDisconnected|early EOF|RPC failed",
            r"HTTP status server error \(5\d\d",
        ],
        level: Level::General,
        words: |_, context| {
            Words::new(
                "The machine could not reach the network, or who it asked.",
                format!(
                    "wait a minute, then {} If it stays, an admin of this site should look at the network of its machines.",
                    context.again()
                ),
            )
        },
    },
    Row {
        patterns: &[r"certificate verify failed|CERTIFICATE_VERIFY_FAILED|invalid peer certificate"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A server that was asked has a certificate that the machine does not trust.",
                format!("name another server, or wait until it is renewed, then {}", context.again()),
            )
        },
    },
    Row {
        patterns: &[r"(?:Permission denied|Read-only file system):? ?'?([^'\n]*)"],
        level: Level::General,
        words: |found, context| {
            let what = first(found);
            let place = if what.is_empty() { String::new() } else { format!(" {}", quoted(what)) };
            Words::new(
                format!("The project may not write or read{place}."),
                format!(
                    "it runs as a user of its own, who may write to `MEDIA_ROOT`, the database and `/tmp`: write there, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"(Deployment \d+ is newer than this one)"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A newer deployment began before this one.",
                format!("nothing needs to be done; to deploy the newest commit, {}", context.again()),
            )
        },
    },
    Row {
        patterns: &[r"The image has no (\S+): GOLDEN_AMI must be"],
        level: Level::Particular,
        words: |found, _| {
            Words::new(
                format!("The golden image has no {}.", code_of(first(found))),
                "an admin of this site should bake a golden image on the page Golden images, then deploy again.",
            )
        },
    },
];

/// What the exit code of a step says where its lines say nothing.
pub(super) fn by_code(code: i32, context: &Context<'_>) -> Option<Words> {
    match code {
        // `timeout` gives 124, and 137 where it had to kill.
        124 => Some(too_long(context)),
        137 => Some(out_of_memory(context)),
        _ => None,
    }
}

fn too_long(context: &Context<'_>) -> Words {
    let help = match context.step {
        Step::Clone => "make the repository smaller: large files belong elsewhere",
        Step::Gunicorn | Step::Dependencies => {
            "name versions that come ready-made, take out very large packages that the site can do without"
        }
        Step::ConfigureGunicorn | Step::Collectstatic | Step::Migrate | Step::Start => {
            "see whether the project asks a service that does not answer, or does long work, while it is loaded"
        }
        _ => "look at the lines below for what it waited for",
    };
    Words::new("It took longer than this step may take.", format!("{help}, {}", context.push()))
}

fn out_of_memory(context: &Context<'_>) -> Words {
    let help = match context.step {
        Step::Gunicorn | Step::Dependencies => format!(
            "take very large packages (`torch`, `tensorflow`, `dlib`) out of {} or name ones that come ready-made, or choose a larger machine on the page Edit. Then {}",
            context.requirements(),
            context.again()
        ),
        _ => format!(
            "load less while the project starts (models of machine learning, large files), or choose a larger machine on the page Edit. Then {}",
            context.again()
        ),
    };
    Words::new("The machine ran out of memory.", help).on(Page::Edit)
}
