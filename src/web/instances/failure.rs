//! Why a deployment failed: where, the cause in one sentence, what usually helps, and the lines that tell it.

use super::{
    failures::{self, Context, Cure},
    log_html::Excerpt,
};
use crate::{
    domain::{Deployment, Failure, Instance, Step},
    store::{Store, StoreError},
    web::format::rich,
};

/// Why something failed, for its card.
pub struct Card {
    /// Where: `Deployment 2 stopped at step 8 of 11, <strong>…</strong>`, as HTML.
    pub place: String,
    /// The cause in one sentence, as HTML.
    pub cause: String,
    /// What usually helps, as HTML, where the cause is known.
    pub help: Option<String>,
    /// The page where that is done: its name and its path.
    pub page: Option<(&'static str, String)>,
    /// Whether only the lines of the log tell, where the cause is not known.
    pub is_unknown: bool,
}

/// What is told of a failure.
#[derive(Default)]
pub struct Told {
    pub card: Option<Card>,
    /// The last lines of the step, as HTML.
    pub lines: String,
}

impl Told {
    /// What is told of `failure`, by the end of the log of the deployment of `instance` that failed.
    pub async fn of(
        store: &Store,
        instance: &Instance,
        deployment: Option<&Deployment>,
        failure: Option<&Failure>,
    ) -> Result<Self, StoreError> {
        let step = failure.and_then(|failure| failure.step);
        let (excerpt, cure) = cause(store, instance, deployment, failure).await?;
        // A step that ended by itself; past a deadline, the message is the cause.
        let broke = deployment.is_some_and(|deployment| deployment.report.failed().is_some());
        let lines = excerpt.html(cure.as_ref().and_then(|cure| cure.line));
        let page = cure.as_ref().and_then(|cure| cure.page).map(|page| {
            let (name, path) = page.name_and_path();
            (name, format!("/instances/{}/{path}", instance.name))
        });
        let card = failure.map(|failure| Card {
            place: place(deployment, step),
            cause: rich(
                cure.as_ref()
                    .filter(|cure| broke || cure.line.is_some())
                    .map_or(&failure.message, |cure| &cure.cause),
            ),
            help: cure.map(|cure| rich(&cure.help)),
            page,
            is_unknown: broke && !excerpt.lines.is_empty(),
        });
        Ok(Self { card, lines })
    }
}

/// The last lines of the step that failed, and what is known of it by them.
pub async fn cause(
    store: &Store,
    instance: &Instance,
    deployment: Option<&Deployment>,
    failure: Option<&Failure>,
) -> Result<(Excerpt, Option<Cure>), StoreError> {
    let step = failure.and_then(|failure| failure.step);
    let Some(deployment) = deployment else { return Ok((Excerpt::default(), None)) };
    let excerpt = Excerpt::of(store, deployment, step).await?;
    let cure = step.and_then(|step| {
        let context = Context {
            step,
            code: deployment.report.failed().map(|(_, code)| code).or(overdue(failure)),
            plan: Some(&deployment.plan),
            repaired: deployment.report.repaired(),
            status: instance.status,
        };
        failures::find(excerpt.last_try(), &context)
    });
    Ok((excerpt, cure))
}

/// The code of a step that takes too long, where it was the site that gave the deployment up.
fn overdue(failure: Option<&Failure>) -> Option<i32> {
    failure.filter(|failure| failure.message.contains("did not end within")).map(|_| 124)
}

fn place(deployment: Option<&Deployment>, step: Option<Step>) -> String {
    let number = deployment.map_or(1, |deployment| deployment.number);
    match step {
        Some(step) => format!(
            "Deployment {number} stopped at step {} of {}, <strong>{}</strong>",
            step.number(),
            Step::ALL.len(),
            step.title()
        ),
        None if deployment.is_some_and(|deployment| deployment.first_byte_at.is_some()) => {
            format!("Deployment {number} stopped")
        }
        None => format!("Deployment {number} did not begin"),
    }
}
