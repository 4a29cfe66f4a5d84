//! One bake as pages show it: what it does now, its steps with their times, its log.

use crate::{
    domain::{BakeReport, Image, ImageState, StepState, Timestamp},
    store::StoreError,
    web::{
        auth::Visit,
        format::{ago, count, duration, escape, size},
        instances::log_html::{Tail, complete, for_pre},
    },
};

/// A bake and its log.
pub struct BakeView {
    pub image: Image,
    /// The log, without a line that is still being written.
    pub log: Vec<u8>,
    /// How long the last good bake took, in seconds.
    last_took: Option<f64>,
    report: BakeReport,
}

impl BakeView {
    pub async fn of(visit: &Visit, image: Image) -> Result<Self, StoreError> {
        let store = &visit.site.store;
        let mut log = store.image_log(image.id).await?;
        if image.state == ImageState::Baking {
            log.truncate(complete(&log));
        }
        let last = store.newest_good_image().await?;
        let last_took =
            last.and_then(|last| last.finished_at.map(|ended| ended.seconds_since(last.created_at)));
        let report = BakeReport::read(&String::from_utf8_lossy(&log));
        Ok(Self { image, log, last_took, report })
    }

    /// What it does now.
    pub fn now(&self) -> String {
        if self.image.waiting {
            return "It begins as soon as the site has looked at the cloud".to_owned();
        }
        let steps = self.report.steps().count();
        match self.report.running() {
            Some(step) => format!("Step {} of {steps}: {}", step as usize + 1, step.title()),
            None if self.report.done() => "Every step is done; the image is being put together".to_owned(),
            None => "The machine that becomes the image boots".to_owned(),
        }
    }

    /// How long it may take.
    pub fn hint(&self) -> String {
        let took = self.last_took.map(|took| format!("; the last one took {}", duration(took)));
        format!("{}; one bake at a time{}", self.began(), took.unwrap_or_default())
    }

    /// Who asked for it and when, as HTML.
    fn began(&self) -> String {
        let by = match &self.image.requested_by {
            Some(name) => format!("asked for by {}", escape(name.as_str())),
            None => "started by the site".to_owned(),
        };
        format!("{by} {}", ago(self.image.created_at))
    }

    /// How far it is, in per cent.
    pub fn percent(&self) -> u32 {
        (self.report.progress() * 100.0) as u32
    }

    /// Each step: its state, that in words, its title, its time as HTML.
    pub fn steps(&self) -> Vec<(&'static str, &'static str, &'static str, String)> {
        let over = self.image.state != ImageState::Baking;
        let time = |text: String| format!(r#"<span class="num">{text}</span>"#);
        let steps = self.report.steps().map(|(step, state)| {
            let (state, words, time) = match state {
                StepState::Waiting if self.report.base_was_there() && step.name() == "base" => {
                    ("done", "done", time("there already".to_owned()))
                }
                StepState::Waiting if over => ("waiting", "not reached", String::new()),
                StepState::Waiting => ("waiting", "waiting", String::new()),
                StepState::Running if over => ("failed", "interrupted", time("interrupted".to_owned())),
                StepState::Running => ("running", "running", self.elapsed(step.name())),
                StepState::Ok { seconds } => ("done", "done", time(duration(seconds))),
                StepState::Failed { code } => ("failed", "failed", time(format!("exit code {code}"))),
            };
            (state, words, step.title(), time)
        });
        steps.collect()
    }

    /// The seconds of the step under way, which a script counts on, as HTML.
    fn elapsed(&self, step: &str) -> String {
        let since = self.image.step_since.filter(|_| self.image.step_name.as_deref() == Some(step));
        let Some(since) = since else { return String::new() };
        let seconds = Timestamp::now().seconds_since(since).max(0.0) as u64;
        format!(r#"<span class="num" data-elapsed="{seconds}">{seconds} s</span>"#)
    }

    /// The end of the log, as HTML for a `pre`.
    pub fn log_html(&self) -> String {
        for_pre(&Tail::of(&self.log, 0, true).html)
    }

    /// How large the log is.
    pub fn log_size(&self) -> String {
        size(self.log.len() as u64)
    }

    /// What came of it, in a sentence as HTML.
    pub fn outcome(&self) -> String {
        let took = self.image.finished_at.map(|ended| ended.seconds_since(self.image.created_at));
        let after = took.map_or_else(String::new, |took| format!(" after {}", duration(took)));
        let how = match self.image.state {
            ImageState::Baking => "under way".to_owned(),
            ImageState::Good => format!("good{after}"),
            ImageState::Failed => format!("failed{after}"),
        };
        format!("{}; {how}. The log has {}.", capitalised(&self.began()), count(self.lines(), "line"))
    }

    fn lines(&self) -> u64 {
        self.log.iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + chars.as_str())
}
