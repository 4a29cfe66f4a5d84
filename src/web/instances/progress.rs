//! How far an instance is on its way: what runs now, the way to live, the steps.

use super::{
    view::View,
    words::{bake_in_words, elapsed},
};
use crate::{
    domain::{Deployment, ImageState, Status, Step, StepState, Timestamp},
    store::Attempt,
    web::format::{duration, rich},
};

/// A step of a deployment, as a list shows it.
pub struct StepRow {
    /// `done`, `running`, `failed` or `waiting`.
    pub state: &'static str,
    /// The same for listeners.
    pub words: &'static str,
    pub title: &'static str,
    /// How long it took, or has been taking, as HTML.
    pub time: String,
    /// Where its lines begin, on a page that has them all.
    pub anchor: Option<String>,
}

/// The steps of a deployment; `anchored` on a page whose log has an anchor for each that began.
pub fn steps(deployment: &Deployment, anchored: bool) -> Vec<StepRow> {
    let row = |(step, state)| {
        let (state, words, time) = step_in_words(deployment, step, state);
        let begun = state != "waiting" || words != "waiting";
        let anchor = (anchored && begun).then(|| step_anchor(step));
        StepRow { state, words, title: step.title(), time, anchor }
    };
    deployment.report.steps().map(row).collect()
}

/// The id of the line at which a step begins, on the page of a whole log.
pub fn step_anchor(step: Step) -> String {
    format!("step-{}", step.name())
}

fn step_in_words(shown: &Deployment, step: Step, state: StepState) -> (&'static str, &'static str, String) {
    let stopped_here = shown.failure.as_ref().is_some_and(|failure| failure.step == Some(step));
    let took = |until: Option<Timestamp>| {
        shown.step_since.zip(until).map_or(String::new(), |(since, until)| {
            format!(r#"<span class="num">{}</span>"#, duration(until.seconds_since(since)))
        })
    };
    match state {
        StepState::Ok { seconds } => {
            ("done", "done", format!(r#"<span class="num">{}</span>"#, duration(seconds)))
        }
        StepState::Failed { .. } => ("failed", "failed", took(shown.ended_at)),
        StepState::Running | StepState::Waiting if stopped_here => ("failed", "failed", took(shown.ended_at)),
        StepState::Running if shown.outcome.is_none() => {
            ("running", "running", shown.step_since.map(elapsed).unwrap_or_default())
        }
        StepState::Running => ("waiting", "not finished", String::new()),
        StepState::Waiting => ("waiting", "waiting", String::new()),
    }
}

/// When a deployment that its machine was launched with went from one stage to the next.
fn passed(shown: &Deployment, attempt: Option<&Attempt>) -> [Option<Timestamp>; 5] {
    // The attempt and the deployment that it carries begin in one write.
    let attempt = attempt.filter(|attempt| Some(attempt.created_at) == shown.begun_at);
    match attempt {
        Some(attempt) => [
            Some(shown.created_at),
            Some(attempt.created_at),
            attempt.launched_at,
            shown.first_byte_at,
            shown.ended_at,
        ],
        None => [None; 5],
    }
}

impl View {
    /// What runs now, in the words of a title.
    pub fn now(&self) -> String {
        let report = self.shown.as_ref().map(|shown| &shown.report);
        let baking = self.bake.as_ref().is_some_and(|bake| bake.state == ImageState::Baking);
        match self.instance.status {
            Status::Requested if self.not_ready.is_some() => "Waiting for the cloud".to_owned(),
            Status::Requested if baking => "Waiting for the golden image".to_owned(),
            Status::Requested if self.bake.is_some() => "No golden image to boot from".to_owned(),
            Status::Requested => "Waiting for its turn".to_owned(),
            Status::Launching => "Launching a machine".to_owned(),
            Status::Booting => "Booting".to_owned(),
            _ => match report.map(|report| (report.reached(), report.progress() > 0.0, report.current())) {
                // Between two steps the next one is named, so that no other words flash up.
                Some((Some(step), true, _) | (_, _, Some(step))) => step.title().to_owned(),
                Some((None, ..)) => "Looking at the site from outside".to_owned(),
                _ => "Starting the deployment".to_owned(),
            },
        }
    }

    /// How far that is, as HTML.
    pub fn of_line(&self) -> String {
        let so_far = elapsed(self.instance.status_since);
        if let Some(reason) = &self.not_ready {
            return format!(
                "No machines can be launched now. {} It goes on by itself once this is cured.",
                rich(reason)
            );
        }
        match (self.instance.status, &self.bake) {
            (Status::Requested, Some(bake)) => bake_in_words(bake),
            (Status::Booting, _) => format!("The machine has not reported yet, {so_far} so far"),
            (Status::Deploying, _) => {
                let shown = self.shown.as_ref();
                let since = shown.and_then(|shown| shown.first_byte_at.or(shown.begun_at));
                let so_far = since.map_or(so_far, elapsed);
                let step = shown.and_then(|shown| shown.report.reached());
                match step {
                    Some(step) => format!("Step {} of {}, {so_far} so far", step.number(), Step::ALL.len()),
                    None => format!("{so_far} so far"),
                }
            }
            _ => format!("{so_far} so far"),
        }
    }

    /// What is served meanwhile, where something is.
    pub fn meanwhile(&self) -> String {
        match &self.serving {
            Some(serving) => format!("Deployment {} serves meanwhile.", serving.number),
            None => "Answers once the instance is live.".to_owned(),
        }
    }

    /// How far the deployment is, in per cent.
    pub fn percent(&self) -> u32 {
        self.shown.as_ref().map_or(0, |shown| (shown.report.progress() * 100.0) as u32)
    }

    /// The segments of the way to live: state, name, and the time it took where that is known.
    pub fn life(&self) -> Vec<(&'static str, &'static str, Option<String>)> {
        let way = [Status::Requested, Status::Launching, Status::Booting, Status::Deploying, Status::Live];
        let at = way.iter().position(|status| *status == self.instance.status).unwrap_or(way.len());
        let times = self.shown.as_ref().map_or([None; 5], |shown| passed(shown, self.attempt.as_ref()));
        way.iter()
            .enumerate()
            .map(|(i, status)| {
                let state = match i.cmp(&at) {
                    std::cmp::Ordering::Less => "done",
                    std::cmp::Ordering::Equal => "running",
                    std::cmp::Ordering::Greater => "waiting",
                };
                let until = times.get(i + 1).copied().flatten().filter(|_| state == "done");
                let took = times[i].zip(until).map(|(since, until)| until.seconds_since(since));
                (state, status.name(), took.map(duration))
            })
            .collect()
    }

    /// The steps of the deployment that the page is about.
    pub fn steps(&self) -> Vec<StepRow> {
        self.shown.as_ref().map(|shown| steps(shown, false)).unwrap_or_default()
    }
}
