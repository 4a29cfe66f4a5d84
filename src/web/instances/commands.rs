//! Management commands: a form for one, what it printed, and those before it.

use askama::Template;
use axum::{
    Router,
    extract::{Path, Query},
    http::{StatusCode, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;

use super::{
    fetch_events::digest,
    find,
    log_html::{clean, for_pre},
};
use crate::{
    domain::{
        CommandOutput, CommandRun, FetchId, FetchState, Instance, ManagementCommand, NameError, can_run,
    },
    web::{
        Site,
        auth::{CheckedForm, Visit},
        error::WebError,
        format::{ago, duration, escape, field_error, size},
        page::{Shell, html, page},
    },
};

/// Lines of an output that the page shows; all of it is a link beside them.
const LINES: usize = 1000;

pub fn router() -> Router<Site> {
    Router::new()
        .route("/instances/{name}/commands", get(show).post(run))
        .route("/instances/{name}/commands.txt", get(text))
}

/// Which of the commands is shown with its output: the newest, unless another is named.
#[derive(Default, Deserialize)]
pub struct Which {
    #[serde(default)]
    pub run: String,
}

/// How a command ended, or that it has not.
pub struct Outcome {
    /// What colours its chip.
    pub status: &'static str,
    pub word: String,
}

impl Outcome {
    fn of(run: &CommandRun) -> Self {
        let (status, word) = match (run.fetch.state, run.exit_code) {
            (FetchState::Wanted, _) => ("requested", "waiting".to_owned()),
            (FetchState::Sent, _) => ("deploying", "running".to_owned()),
            (FetchState::Failed, _) => ("failed", "no answer".to_owned()),
            (FetchState::Ready, Some(0)) => ("ok", "done".to_owned()),
            (FetchState::Ready, Some(code)) if code < 0 => {
                ("failed", format!("signal {}", code.unsigned_abs()))
            }
            (FetchState::Ready, Some(code)) => ("failed", format!("exit {code}")),
            (FetchState::Ready, None) => ("ok", "ended".to_owned()),
        };
        Self { status, word }
    }
}

/// What the page shows of one command.
pub struct Row {
    pub id: FetchId,
    pub line: String,
    pub outcome: Outcome,
    pub who: Option<String>,
    pub took: Option<String>,
    /// When it was asked for, as HTML.
    pub asked: String,
}

impl Row {
    fn of(run: &CommandRun) -> Self {
        Self {
            id: run.fetch.id,
            line: clean(run.command.line()),
            outcome: Outcome::of(run),
            who: run.requested_by.as_ref().map(ToString::to_string),
            took: run.seconds().map(duration),
            asked: ago(run.asked_at()),
        }
    }
}

/// The command that is shown, with what it printed.
pub struct Shown {
    pub row: Row,
    pub is_open: bool,
    /// Why it did not run, or nothing of it came.
    pub error: Option<String>,
    /// What it printed, as HTML, once it has ended.
    pub output: Option<String>,
    pub size: String,
}

/// The part of the page that changes.
#[derive(Template)]
#[template(path = "parts/commands_main.html")]
pub struct CommandsView {
    instance: Instance,
    shown: Option<Shown>,
    rows: Vec<Row>,
}

impl CommandsView {
    /// The page as it is now, with the output of the command that is named.
    pub async fn of(visit: &Visit, instance: Instance, which: &str) -> Result<Self, WebError> {
        let runs = visit.site.store.commands(instance.row).await?;
        let shown = match named(&runs, which) {
            Some(run) => Some(Shown::of(visit, run).await?),
            None => None,
        };
        Ok(Self { rows: runs.iter().map(Row::of).collect(), shown, instance })
    }

    /// The part as HTML.
    pub fn html(&self) -> Result<String, askama::Error> {
        html(self)
    }

    /// Why no command can be run now.
    fn cannot(&self) -> Option<&'static str> {
        can_run(&self.instance).err()
    }

    fn is_moving(&self) -> bool {
        self.rows.iter().any(|row| matches!(row.outcome.status, "requested" | "deploying"))
    }
}

impl Shown {
    async fn of(visit: &Visit, run: &CommandRun) -> Result<Self, WebError> {
        let bytes = match run.fetch.state {
            FetchState::Ready => visit.site.store.fetched_log(run.fetch.id).await?,
            FetchState::Wanted | FetchState::Sent | FetchState::Failed => None,
        };
        let printed = bytes.as_deref().and_then(CommandOutput::read).map(|output| output.printed);
        Ok(Self {
            row: Row::of(run),
            is_open: run.fetch.state.is_open(),
            error: run.fetch.error.as_deref().map(clean),
            output: printed.map(output_html),
            size: size(printed.map_or(0, |printed| printed.len() as u64)),
        })
    }
}

/// What a command printed, the last lines of it, as HTML. It may have printed anything: it is text.
fn output_html(printed: &[u8]) -> String {
    if printed.is_empty() {
        return "<i>It printed nothing.</i>\n".to_owned();
    }
    let text = String::from_utf8_lossy(printed);
    let lines: Vec<_> = text.lines().collect();
    let cut = lines.len().saturating_sub(LINES);
    let note = if cut > 0 { "<i>The beginning is in the text to download.</i>\n" } else { "" };
    let html: String = lines[cut..].iter().map(|line| escape(&clean(line)) + "\n").collect();
    for_pre(&format!("{note}{html}"))
}

/// The command that is named; the newest where none is.
fn named<'a>(runs: &'a [CommandRun], which: &str) -> Option<&'a CommandRun> {
    if which.is_empty() {
        return runs.first();
    }
    let id = which.parse().map(FetchId).ok()?;
    runs.iter().find(|run| run.fetch.id == id)
}

#[derive(Template)]
#[template(path = "commands.html")]
struct CommandsPage<'a> {
    shell: Shell,
    name: String,
    main: String,
    /// What was typed.
    typed: String,
    /// What is wrong with it, as HTML.
    error: Option<String>,
    can_run: bool,
    tabs_of: String,
    tab: &'a str,
    can_edit: bool,
}

async fn show(
    visit: Visit,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    answer(&visit, StatusCode::OK, instance, &which.run, String::new(), None).await
}

async fn answer(
    visit: &Visit,
    status: StatusCode,
    instance: Instance,
    which: &str,
    typed: String,
    error: Option<&NameError>,
) -> Result<Response, WebError> {
    let (name, can_edit, can_run) =
        (instance.name.to_string(), !instance.is_leaving(), can_run(&instance).is_ok());
    let view = CommandsView::of(visit, instance, which).await?;
    let title = format!("Commands of {name}");
    let mut shell = Shell::new(visit, title, format!("Management commands that were run on {name}.")).await?;
    let main = view.html()?;
    // What is wrong with what was typed stays until it was read.
    if error.is_none() {
        shell.moving = view.is_moving();
    }
    let which = which.parse::<i64>().map(|id| format!("&run={id}")).unwrap_or_default();
    shell.events = Some(format!("/instances/{name}/commands/events?seen={}{which}", digest(&main)));
    page(
        status,
        &CommandsPage {
            shell,
            main,
            error: error.map(|error| field_error(error, "cmd")),
            can_run: can_run || error.is_some(),
            typed,
            tabs_of: name.clone(),
            name,
            tab: "commands",
            can_edit,
        },
    )
}

#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    command: String,
}

async fn run(
    visit: Visit,
    Path(name): Path<String>,
    CheckedForm(fields): CheckedForm<Fields>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let command = ManagementCommand::parse(&fields.command)
        .and_then(|command| can_run(&instance).map(|()| command).map_err(NameError::new));
    let error = match &command {
        Ok(command) => {
            let wanted = visit.site.store.want_command(instance.row, command, visit.user.id).await?;
            if let Some(id) = wanted {
                // Its arguments may hold what is nobody's to read.
                let called = command.arguments().first().map_or("", String::as_str);
                tracing::info!(instance = %instance.name, by = %visit.user.username, command = called, fetch = %id, "a command is to be run");
                return Ok(Redirect::to(&format!("/instances/{}/commands", instance.name)).into_response());
            }
            NameError::new("Another command has not ended yet, and one runs at a time")
        }
        Err(error) => error.clone(),
    };
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    answer(&visit, status, instance, "", fields.command, Some(&error)).await
}

/// What a command printed, as text to keep.
async fn text(
    visit: Visit,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let runs = visit.site.store.commands(instance.row).await?;
    let run = named(&runs, &which.run).ok_or(WebError::NotFound)?;
    let bytes = visit.site.store.fetched_log(run.fetch.id).await?.ok_or(WebError::NotFound)?;
    let output = CommandOutput::read(&bytes).ok_or(WebError::NotFound)?;
    let mut text = format!("$ manage.py {}\n", clean(run.command.line()));
    for line in String::from_utf8_lossy(output.printed).lines() {
        text.push_str(&clean(line));
        text.push('\n');
    }
    text.push_str(&format!("exit {}\n", output.exit_code));
    let attachment = format!("attachment; filename=\"{}-command-{}.txt\"", instance.name, run.fetch.id);
    Ok(([(header::CONTENT_DISPOSITION, attachment)], text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_prints_is_text() {
        let html = output_html(b"\x1b[31m<b>red</b>\x1b[0m\n::ec done\n10 %\r100 %\n\xff\n");
        assert_eq!(html, "&lt;b&gt;red&lt;/b&gt;\n::ec done\n100 %\n\u{fffd}\n");
        assert!(output_html(b"").contains("printed nothing"));
        assert_eq!(output_html(b"\n\nx\n"), "\n\n\nx\n", "the parser drops the first line break");
        let many: String = (0..LINES + 5).map(|i| format!("{i}\n")).collect();
        assert!(output_html(many.as_bytes()).contains("</i>\n5\n"));
    }
}
