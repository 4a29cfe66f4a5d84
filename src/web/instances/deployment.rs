//! One deployment: what came of it, who asked for it and why, and its whole log with its steps as anchors. It stays
//! when the machine is gone. The log is streamed, so that the largest costs no more memory than a small one.

use std::collections::HashSet;

use askama::Template;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderValue, header},
    response::Response,
    routing::get,
};
use futures_util::{Stream, StreamExt, stream};

use super::{
    failure::{Card, Told},
    find,
    history::Row,
    log_html,
    progress::{StepRow, step_anchor, steps},
    whole_log::pieces,
    words::deployment_facts,
};
use crate::{
    domain::{Deployment, Instance, Line, Mark, Outcome, Plan, RepoUrl, Step, parse_line},
    store::StoreError,
    web::{
        Site,
        auth::Visit,
        error::WebError,
        format::{ago, duration, escape, size},
        page::{Shell, html},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/instances/{name}/deployments/{number}", get(show))
}

/// Where the log goes in the page. What people write is escaped there, so that it is nowhere else.
const LOG: &str = "<!-- log -->";
/// Bytes of a log that a browser need not lay out all at once: more than a piece of it.
const LONG: u64 = 512 * 1024;
/// Most bytes that are held back for the end of their line; a longer line is shown in pieces.
const LINE_MAX: usize = 1024 * 1024;

#[derive(Template)]
#[template(path = "deployment.html")]
struct DeploymentPage {
    shell: Shell,
    view: DeploymentView,
}

/// What the page shows of a deployment.
struct DeploymentView {
    instance: Instance,
    deployment: Deployment,
    row: Row,
    failure: Option<Card>,
}

impl DeploymentView {
    /// The repository that the commit is of.
    fn repo(&self) -> &RepoUrl {
        self.deployment.repo.as_ref().unwrap_or(&self.instance.repo)
    }

    fn plan(&self) -> Option<&Plan> {
        Some(&self.deployment.plan)
    }

    fn plan_facts(&self) -> Vec<(&'static str, String)> {
        deployment_facts(&self.deployment)
    }

    fn steps(&self) -> Vec<StepRow> {
        steps(&self.deployment, true)
    }

    fn log_size(&self) -> String {
        size(self.deployment.log_size)
    }

    /// Who, why, when and how long, as HTML.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let deployment = &self.deployment;
        let mut facts = vec![(
            "Commit",
            format!(
                "<code>{}</code> {}",
                deployment.plan.commit.short(),
                escape(&log_html::clean(&deployment.plan.subject))
            ),
        )];
        facts.extend(deployment.reason.map(|reason| ("Why", reason.title().to_owned())));
        facts.extend(deployment.requested_by.as_ref().map(|who| ("Asked for by", escape(who.as_str()))));
        facts.push(("Asked for", ago(deployment.created_at)));
        facts.extend(deployment.begun_at.map(|begun| ("Started", ago(begun))));
        let took = deployment.begun_at.zip(deployment.ended_at);
        facts.extend(took.map(|(begun, ended)| ("Took", duration(ended.seconds_since(begun)))));
        facts
    }
}

async fn show(visit: Visit, Path((name, number)): Path<(String, String)>) -> Result<Response, WebError> {
    let instance = find(&visit, &name).await?.instance;
    let store = &visit.site.store;
    let number = number.parse().map_err(|_| WebError::NotFound)?;
    let found = store.numbered_deployment(instance.row, number).await?;
    let deployment = found.ok_or(WebError::NotFound)?;
    let failure = match deployment.outcome {
        Some(Outcome::Failed) => {
            Told::of(store, &instance, Some(&deployment), deployment.failure.as_ref()).await?.card
        }
        Some(Outcome::Live | Outcome::Replaced) | None => None,
    };
    let (id, apart) = (deployment.id, deployment.log_size > LONG);
    let title = format!("Deployment {number} of {}", instance.name);
    let description = format!("What came of deployment {number} of {}, with its whole log.", instance.name);
    let shell = Shell::new(&visit, title, description).await?;
    let view = DeploymentView { instance, row: Row::of(&deployment), deployment, failure };
    let page = html(&DeploymentPage { shell, view })?;
    let (before, after) = page.split_once(LOG).unwrap_or((&page, ""));
    let (before, after) =
        (Bytes::copy_from_slice(before.as_bytes()), Bytes::copy_from_slice(after.as_bytes()));
    let lines = Lines { apart, ..Lines::default() };
    let log = log_as_html(pieces(store.clone(), id), lines);
    let body = stream::iter([Ok(before)]).chain(log).chain(stream::iter([Ok(after)]));
    let mut response = Response::new(Body::from_stream(body));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// A log that comes in pieces as HTML in pieces, each of whole lines.
fn log_as_html(
    pieces: impl Stream<Item = Result<Bytes, StoreError>> + Send + 'static,
    lines: Lines,
) -> impl Stream<Item = Result<Bytes, StoreError>> + Send {
    let whole = stream::unfold(Some((Box::pin(pieces), lines)), |state| async {
        let (mut pieces, mut lines) = state?;
        match pieces.next().await {
            Some(Ok(piece)) => {
                let html = lines.take(&piece);
                Some((Ok(Bytes::from(html)), Some((pieces, lines))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Ok(Bytes::from(lines.end())), None)),
        }
    });
    // An empty piece would end some bodies.
    whole.filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Bytes::is_empty)))
}

/// Makes HTML of a log that comes in pieces. The first line of each step has an id.
#[derive(Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    begun: HashSet<Step>,
    /// Whether anything was made.
    any: bool,
    /// Whether each piece is an element of its own, so that a browser lays out only those in view.
    apart: bool,
}

impl Lines {
    fn take(&mut self, piece: &[u8]) -> String {
        let whole = match log_html::complete(piece) {
            0 if self.rest.len() + piece.len() < LINE_MAX => {
                self.rest.extend_from_slice(piece);
                return String::new();
            }
            0 => piece.len(),
            whole => whole,
        };
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(&piece[..whole]);
        self.rest.extend_from_slice(&piece[whole..]);
        self.html(&bytes)
    }

    fn end(&mut self) -> String {
        let rest = std::mem::take(&mut self.rest);
        let html = self.html(&rest);
        if self.any { html } else { "<i>Nothing was logged.</i>\n".to_owned() }
    }

    fn html(&mut self, bytes: &[u8]) -> String {
        let html: String =
            String::from_utf8_lossy(bytes).lines().map(|line| self.line(line) + "\n").collect();
        if html.is_empty() {
            return html;
        }
        let first = !std::mem::replace(&mut self.any, true);
        match (self.apart, first) {
            (true, _) => format!(r#"<span class="piece">{html}</span>"#),
            (false, true) => log_html::for_pre(&html),
            (false, false) => html,
        }
    }

    fn line(&mut self, line: &str) -> String {
        let html = log_html::line_html(line);
        let Line::Mark(Mark::Start(name)) = parse_line(line) else { return html };
        let Some(step) = name.parse::<Step>().ok().filter(|step| self.begun.insert(*step)) else {
            return html;
        };
        html.replacen("<b>", &format!(r#"<b id="{}">"#, step_anchor(step)), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&str]) -> String {
        let mut lines = Lines::default();
        let mut html: String = pieces.iter().map(|piece| lines.take(piece.as_bytes())).collect();
        html.push_str(&lines.end());
        html
    }

    #[test]
    fn lines_that_come_in_pieces_are_whole_and_a_step_has_one_anchor() {
        assert_eq!(
            through(&["one\n::ec step clo", "ne start\n<b>\n::ec step clone start\nla", "st"]),
            "one\n<b id=\"step-clone\">==&gt; Clone the project</b>\n&lt;b&gt;\n<b>==&gt; Clone the project</b>\nlast\n"
        );
        assert_eq!(through(&["\none\n"]), "\n\none\n", "the parser drops the first line break");
        assert_eq!(through(&[]), "<i>Nothing was logged.</i>\n");
        let mut apart = Lines { apart: true, ..Lines::default() };
        assert_eq!(apart.take(b"one\n") + &apart.end(), "<span class=\"piece\">one\n</span>");
        let long = "x".repeat(LINE_MAX / 2);
        assert!(through(&[&long, &long, &long, "\nend\n"]).ends_with("\nend\n"));
    }
}
