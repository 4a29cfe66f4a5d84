//! Why a deployment failed: where, the cause in one sentence, what usually helps, and the lines that tell it.

use super::{cures, log_html::Excerpt};
use crate::{
    domain::{Deployment, Failure, Step},
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
    /// What is told of `failure`, by the end of the log of the deployment that failed.
    pub async fn of(
        store: &Store,
        deployment: Option<&Deployment>,
        failure: Option<&Failure>,
    ) -> Result<Self, StoreError> {
        let step = failure.and_then(|failure| failure.step);
        let excerpt = match deployment {
            Some(deployment) => Excerpt::of(store, deployment, step).await?,
            None => Excerpt::default(),
        };
        // A step that ended by itself; past a deadline, the message is the cause.
        let broke = deployment.is_some_and(|deployment| deployment.report.failed().is_some());
        let plan = deployment.map(|deployment| &deployment.plan);
        let cure = step.and_then(|step| cures::find(step, &excerpt.lines, plan));
        let lines = excerpt.html(cure.as_ref().map(|cure| cure.line));
        let card = failure.map(|failure| Card {
            place: place(deployment, step),
            cause: rich(cure.as_ref().map_or(&failure.message, |cure| &cure.cause)),
            help: cure.map(|cure| rich(&cure.help)),
            is_unknown: broke && !excerpt.lines.is_empty(),
        });
        Ok(Self { card, lines })
    }
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
