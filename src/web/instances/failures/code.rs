//! Files of the project that this Python cannot read.

use super::{Level, Row, Words, code_of, first, quoted};

pub(super) const ROWS: &[Row] = &[
    Row {
        patterns: &[
            r"Missing parentheses in call to '(?:print|exec)'",
            r"multiple exception types must be parenthesized",
            r"NameError: name '(?:unicode|xrange|raw_input|basestring)' is not defined",
            r"No module named '(?:StringIO|cStringIO|urllib2|urlparse|ConfigParser|cPickle|httplib|cookielib|Tkinter|__builtin__)'",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "The project is written for Python 2, which no machine has any more.",
                format!("bring it up to Python 3, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"TabError: (.+)"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A file of the project mixes tabs and spaces.",
                format!(
                    "the lines above name the file and the line. Indent it with spaces alone, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"^\s*(?:<<<<<<<|>>>>>>>) \S+"],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A file of the project has the marks of a merge that was not finished.",
                format!("finish it (look for `<<<<<<<`), {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[
            r"source code (?:string )?cannot contain null bytes",
            r"SyntaxError: \(unicode error\)",
            r"Non-UTF-8 code starting with",
            r"invalid non-printable character",
        ],
        level: Level::Particular,
        words: |_, context| {
            Words::new(
                "A Python file of the project is not written in UTF-8.",
                format!("save it as UTF-8 without a byte-order mark, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"UnicodeDecodeError: (.+)"],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!(
                    "The project reads a file in another encoding than it is written in: {}",
                    quoted(first(found))
                ),
                format!("save the file as UTF-8, or say its encoding where it is opened, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"^(?:\S*: )?(?:\w+\.)*(?:SyntaxError|IndentationError): (.+)"],
        level: Level::General,
        words: |found, context| {
            Words::new(
                format!("A file of the project is not valid for this Python: {}", quoted(first(found))),
                format!("the lines above name the file and the line. Correct it, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"FileNotFoundError: \[Errno 2\] No such file or directory: '?([^']+)'?"],
        level: Level::Particular,
        words: |found, context| {
            let file = first(found);
            let elsewhere = file.contains(":\\") || file.starts_with("/home/") || file.starts_with("/Users/");
            let help = if elsewhere {
                "that path is of your own machine: build it from `BASE_DIR`"
            } else {
                "commit it, spelt as on Linux, where capitals count, or make it before it is used (a folder for logs, as most often)"
            };
            Words::new(
                format!("The project opens {}, which does not exist.", quoted(file)),
                format!("{help}, {}", context.push()),
            )
        },
    },
    Row {
        patterns: &[r"^\s*NameError: name '(\w+)' is not defined"],
        level: Level::Particular,
        words: |found, context| {
            Words::new(
                format!("The project uses the name {}, which it does not define.", code_of(first(found))),
                format!(
                    "the lines above name the file and the line. Import or define it, {}",
                    context.push()
                ),
            )
        },
    },
    Row {
        patterns: &[r"^\s*RecursionError: "],
        level: Level::General,
        words: |_, context| {
            Words::new(
                "The project calls itself without an end.",
                format!("the lines above name the files. Correct it, {}", context.push()),
            )
        },
    },
];
