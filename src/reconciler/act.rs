//! Does what was decided: one call, one write.

use std::time::Duration;

use super::{Action, BOOT_SECONDS, FIRST_PAUSE, Next, Reconciler};
use crate::{
    cloud::{CloudError, Job, LaunchRequest, Retry},
    domain::{
        Deployment, DeploymentId, Failure, InstanceId, Line, Outcome, Report, Status, Step, Timestamp,
        parse_line,
    },
    metrics::Launch,
    store::{Attempt, StoreError, Work},
    user_data::{self, Values},
};

/// Longest pause between two tries of the same call; the first is [`FIRST_PAUSE`], and it doubles.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often a page is asked for from outside before a notice says that it does not answer.
const PROBES: u32 = 4;
/// Pause between two of them.
const PROBE_PAUSE: Duration = Duration::from_millis(500);
/// Bytes of a log's end that are looked through for what failed.
const TAIL: u64 = 64 * 1024;

impl Reconciler {
    pub(super) async fn act(&self, work: &Work, action: Action) -> Result<Next, StoreError> {
        let row = work.instance.row;
        match action {
            Action::Rest => return Ok(Next::Idle),
            Action::Wait(pause) => return Ok(Next::After(pause)),
            Action::Become(status) => self.store.set_status(row, status).await?,
            Action::TakeAddress(ip) => self.store.set_public_ip(row, ip).await?,
            Action::GiveAddress => return self.give_address(work).await,
            Action::Observed(generation) => self.store.observed(row, generation).await?,
            Action::WantImage => {
                self.baker.want();
                return Ok(Next::After(Duration::from_secs(2)));
            }
            Action::BeginAttempt(id) => return self.begin_attempt(work, id).await,
            Action::Launch => return self.launch(work).await,
            Action::AbandonAttempt => return self.abandon(work).await,
            Action::BeginDeployment(id) => self.store.begin_deployment(row, id).await?,
            Action::RunScript => return self.run_script(work).await,
            Action::Finish => self.finish(work).await?,
            Action::DeploymentFailed => self.deployment_failed(work).await?,
            Action::NeverReported => {
                let failure = self.never_reported(work).await?;
                self.settle_failure(work, &failure).await?;
            }
            Action::Overdue(failure) => self.settle_failure(work, &failure).await?,
            // What waits behind a running deployment is not failed by it: it goes on from here.
            Action::Fail(failure) if work.running.is_some() => {
                self.store.deployment_failed(row, &failure, None).await?;
                self.count_end(work, Outcome::Failed);
            }
            Action::Fail(failure) => self.store.fail(row, &failure).await?,
            Action::AwaitAnswer => return self.await_answer(work).await,
            Action::Start => return self.call(work, self.cloud.start(machine(work)?).await).await,
            Action::Reboot => return self.reboot(work).await,
            Action::Stop => return self.stop(work).await,
            Action::Terminate { gone } => return self.terminate(work, gone).await,
            Action::Gone(why) => return self.gone(work, &why).await,
            Action::Lost(why) => return self.lost(work, &why).await,
        }
        Ok(Next::Again)
    }

    /// The script of a deployment, with its values in front.
    fn script(&self, work: &Work, deployment: &Deployment) -> Vec<u8> {
        user_data::provision(&Values {
            deployment: deployment.id,
            callback_url: &self.settings.callback_url,
            token: &self.log_key.token(deployment.id),
            instance: &work.instance.name,
            repo: deployment.repo.as_ref().unwrap_or(&work.instance.repo),
            plan: &deployment.plan,
        })
    }

    /// Saves the token and the complete request before any call that launches is made.
    async fn begin_attempt(&self, work: &Work, id: DeploymentId) -> Result<Next, StoreError> {
        let row = work.instance.row;
        let Some(queued) = work.queued.as_ref().filter(|queued| queued.id == id) else {
            return Ok(Next::Again);
        };
        let Some(image) = self.baker.good_image().await? else { return Ok(Next::Again) };
        let cloud_ref = image.cloud_ref.unwrap_or_default();
        let avoided = self.store.subnets_without_room(row, queued.created_at).await?;
        let chosen = work.instance.machine_type.as_ref();
        let placement = match self.cloud.place(chosen, &cloud_ref, &avoided).await {
            Ok(placement) => placement,
            Err(error) if error.retry == Retry::Later => return self.patience(work, &error).await,
            Err(error) => {
                log_refusal(work, &error);
                let message = format!("No machine can be launched: {error}");
                self.store.fail(row, &Failure { step: None, message }).await?;
                // The image may be gone: it is looked at before somebody tries again.
                self.baker.want();
                return Ok(Next::Again);
            }
        };
        let request = LaunchRequest {
            token: hex::encode(rand::random::<[u8; 16]>()),
            site: self.settings.site.clone(),
            instance: work.instance.name.clone(),
            image: cloud_ref,
            user_data: user_data::compressed(&self.script(work, queued)),
            placement,
        };
        let json = serde_json::to_string(&request).map_err(|error| StoreError::File(error.into()))?;
        self.store.begin_attempt(row, id, image.id, &request.token, &json).await?;
        self.patience_ends(work).await?;
        self.metrics.attempt_begun();
        Ok(Next::Again)
    }

    /// Gives the open attempt up. The id of what its request has brought about is written back, so that its end is
    /// seen.
    async fn abandon(&self, work: &Work) -> Result<Next, StoreError> {
        let Some(attempt) = &work.attempt else { return Ok(Next::Again) };
        let made = match attempt.sent_at {
            Some(sent_at) => {
                // The question may be the request itself.
                self.store.attempt_sent(&attempt.token).await?;
                let made = self.cloud.abandon(&request(work, attempt)?, sent_at).await;
                if made.as_ref().is_err_and(|error| error.certain) {
                    self.store.attempt_unsent(&attempt.token, attempt.sent_at).await?;
                }
                made
            }
            None => Ok(None),
        };
        match made {
            Ok(Some(machine)) => {
                self.store.attempt_launched(&attempt.token, &machine.id, machine.public_ip).await?;
            }
            Ok(None) => self.store.attempt_refused(&attempt.token, None).await?,
            Err(error) => return self.patience(work, &error).await,
        }
        Ok(Next::Again)
    }

    /// Sends the saved request, the first time or again, and writes the machine's id back.
    async fn launch(&self, work: &Work) -> Result<Next, StoreError> {
        let Some(attempt) = &work.attempt else { return Ok(Next::Again) };
        let request = request(work, attempt)?;
        self.store.attempt_sent(&attempt.token).await?;
        let launched = self.cloud.launch(&request, attempt.sent_at).await;
        if launched.as_ref().is_err_and(|error| error.certain) {
            self.store.attempt_unsent(&attempt.token, attempt.sent_at).await?;
        }
        match launched {
            Ok(machine) => {
                self.metrics.launch(Launch::Launched);
                self.store.attempt_launched(&attempt.token, &machine.id, machine.public_ip).await?;
                self.patience_ends(work).await?;
                Ok(Next::Again)
            }
            Err(error) if error.retry == Retry::Elsewhere => {
                self.metrics.launch(Launch::Refused);
                log_refusal(work, &error);
                self.store.attempt_elsewhere(&attempt.token).await?;
                Ok(Next::Again)
            }
            Err(error) if error.retry == Retry::Never => {
                self.metrics.launch(Launch::Refused);
                log_refusal(work, &error);
                let failure = Failure { step: None, message: format!("The launch was refused: {error}") };
                let keep = (work.instance.status != Status::Terminating).then_some(&failure);
                self.store.attempt_refused(&attempt.token, keep).await?;
                // The image may be gone: it is looked at before somebody tries again.
                self.baker.want();
                Ok(Next::Again)
            }
            Err(error) => {
                self.metrics.launch(Launch::Retried);
                self.patience(work, &error).await
            }
        }
    }

    /// Starts the running deployment's script, once for each time this program runs.
    async fn run_script(&self, work: &Work) -> Result<Next, StoreError> {
        let Some(running) = &work.running else { return Ok(Next::Again) };
        if self.sent.lock().await.contains(&running.id) {
            return Ok(Next::After(Duration::from_secs(u64::try_from(BOOT_SECONDS).unwrap_or(300) / 10)));
        }
        let script = self.script(work, running);
        match self.cloud.run(machine(work)?, Job::Deploy(running.id), &script).await {
            Ok(()) => {
                self.sent.lock().await.insert(running.id);
                self.patience_ends(work).await?;
                Ok(Next::After(Duration::from_secs(15)))
            }
            Err(error) if error.retry != Retry::Later => {
                log_refusal(work, &error);
                let failure = Failure {
                    step: None,
                    message: format!("The machine did not take the deployment: {error}"),
                };
                self.settle_failure(work, &failure).await?;
                Ok(Next::Again)
            }
            Err(error) => self.patience(work, &error).await,
        }
    }

    /// The log says done: the page is asked for once more from outside, and the instance is live.
    async fn finish(&self, work: &Work) -> Result<(), StoreError> {
        let Some(running) = &work.running else { return Ok(()) };
        let notice = if self.answers_from_outside(work).await {
            None
        } else {
            Some(
                "It answers on its own machine, but not from here: does a firewall or security group keep port 80 closed?",
            )
        };
        self.store.deployment_live(work.instance.row, running.id, notice).await?;
        self.count_end(work, Outcome::Live);
        self.sent.lock().await.remove(&running.id);
        Ok(())
    }

    async fn answers_from_outside(&self, work: &Work) -> bool {
        let Some(ip) = work.instance.public_ip else { return false };
        for probe in 0..PROBES {
            if probe > 0 {
                tokio::time::sleep(PROBE_PAUSE).await;
            }
            if self.probe.answers(ip).await {
                return true;
            }
        }
        false
    }

    /// The log says that a step failed: the failure names it, its exit code and the last thing it said.
    async fn deployment_failed(&self, work: &Work) -> Result<(), StoreError> {
        let Some(running) = &work.running else { return Ok(()) };
        let Some((step, code)) = running.report.failed() else { return Ok(()) };
        let said = self.last_words(running, step).await?;
        let message = match said {
            Some(said) => format!("{} failed with exit code {code}: {said}", step.title()),
            None => format!("{} failed with exit code {code}.", step.title()),
        };
        self.settle_failure(work, &Failure { step: Some(step), message }).await?;
        self.sent.lock().await.remove(&running.id);
        Ok(())
    }

    /// Ends the running deployment as failed; the instance stays live where the release before it answers.
    async fn settle_failure(&self, work: &Work, failure: &Failure) -> Result<(), StoreError> {
        let row = work.instance.row;
        let notice = match &work.serving {
            Some(serving) if self.answers_from_outside(work).await => Some(format!(
                "The last deployment failed. Deployment {} ({}) goes on serving.",
                serving.number,
                serving.plan.commit.short()
            )),
            _ => None,
        };
        self.store.deployment_failed(row, failure, notice.as_deref()).await?;
        self.count_end(work, Outcome::Failed);
        Ok(())
    }

    /// Counts the running deployment, which has ended.
    fn count_end(&self, work: &Work, outcome: Outcome) {
        if let Some(running) = &work.running {
            let begun = running.begun_at.unwrap_or(running.created_at);
            self.metrics.deployment_ended(running, outcome, Timestamp::now().seconds_since(begun));
        }
    }

    /// The last line that a step printed.
    async fn last_words(&self, deployment: &Deployment, step: Step) -> Result<Option<String>, StoreError> {
        let from = deployment.log_size.saturating_sub(TAIL);
        let log = self.store.log(deployment.id, from, TAIL as usize).await?;
        Ok(last_line(&String::from_utf8_lossy(&log), step))
    }

    /// What to say of a machine that never reported: what its console says, read by the same parser.
    async fn never_reported(&self, work: &Work) -> Result<Failure, StoreError> {
        let mut console = match &work.instance.instance_id {
            Some(id) => self.cloud.console(id).await.unwrap_or_default(),
            None => Vec::new(),
        };
        self.store.mask(work.instance.row, &mut console).await?;
        let mut report = Report::default();
        report.feed(&console);
        let text = String::from_utf8_lossy(&console);
        let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let tail = lines[lines.len().saturating_sub(5)..].join(" / ");
        let minutes = BOOT_SECONDS / 60;
        let message = if tail.is_empty() {
            format!(
                "The machine did not report within {minutes} minutes, and its console is empty. Does it reach this site?"
            )
        } else {
            format!(
                "The machine did not report within {minutes} minutes. Does it reach this site? Its console ends: {tail}"
            )
        };
        Ok(Failure { step: report.current(), message })
    }

    /// Waits until a started machine's project answers again.
    async fn await_answer(&self, work: &Work) -> Result<Next, StoreError> {
        let Some(ip) = work.instance.public_ip else { return Ok(Next::After(PROBE_PAUSE)) };
        if !self.probe.answers(ip).await {
            return Ok(Next::After(PROBE_PAUSE));
        }
        self.store.set_status(work.instance.row, Status::Live).await?;
        self.store.set_notice(work.instance.row, None).await?;
        Ok(Next::Again)
    }

    /// Asks for the end of the machine, and believes it once the cloud has no such machine any more.
    async fn terminate(&self, work: &Work, gone: bool) -> Result<Next, StoreError> {
        if let Err(error) = self.cloud.terminate(machine(work)?).await {
            return self.patience(work, &error).await;
        }
        if gone {
            let why = Failure { step: None, message: "The instance was terminated.".into() };
            return self.gone(work, &why).await;
        }
        self.fleet.forget().await;
        Ok(Next::After(self.soon()))
    }

    /// The machine is gone: what it kept beside itself goes too.
    async fn gone(&self, work: &Work, why: &Failure) -> Result<Next, StoreError> {
        if let Some(attempt) = &work.attempt
            && let Err(error) = self.cloud.release_addresses(&attempt.token).await
        {
            return self.patience(work, &error).await;
        }
        self.store.machine_gone(work.instance.row, why).await?;
        Ok(Next::Again)
    }

    /// Reboots the machine. Where it is not known that the cloud did, it is asked once more.
    async fn reboot(&self, work: &Work) -> Result<Next, StoreError> {
        match self.cloud.reboot(machine(work)?).await {
            Ok(()) => {
                self.store.reboot_sent(work.instance.row).await?;
                self.call(work, Ok(())).await
            }
            // It goes on serving.
            Err(error) if error.retry != Retry::Later => {
                log_refusal(work, &error);
                let notice = format!("The machine was not rebooted: {error}");
                self.store.reboot_refused(work.instance.row, &notice).await?;
                Ok(Next::Again)
            }
            Err(error) => self.patience(work, &error).await,
        }
    }

    /// The cloud never showed the machine, or undid its launch: should it come up after all it is to go again.
    async fn lost(&self, work: &Work, why: &Failure) -> Result<Next, StoreError> {
        let mut ended = self.cloud.terminate(machine(work)?).await;
        if let (Ok(()), Some(attempt)) = (&ended, &work.attempt) {
            ended = self.cloud.release_addresses(&attempt.token).await;
        }
        match ended {
            Ok(()) => self.store.machine_lost(work.instance.row, why).await?,
            Err(error) => return self.patience(work, &error).await,
        }
        Ok(Next::Again)
    }

    /// Stops the machine. One that the cloud does not stop goes on serving.
    async fn stop(&self, work: &Work) -> Result<Next, StoreError> {
        match self.cloud.stop(machine(work)?).await {
            Err(error) if error.retry != Retry::Later && work.serving.is_some() => {
                log_refusal(work, &error);
                self.store.set_status(work.instance.row, Status::Live).await?;
                let notice = format!("The machine was not stopped: {error}");
                self.store.set_notice(work.instance.row, Some(&notice)).await?;
                Ok(Next::Again)
            }
            done => self.call(work, done).await,
        }
    }

    /// Gives the machine the public IP that it keeps.
    async fn give_address(&self, work: &Work) -> Result<Next, StoreError> {
        let Some(attempt) = &work.attempt else { return Ok(Next::Again) };
        match self.cloud.give_address(&request(work, attempt)?, machine(work)?).await {
            Ok(elastic) => {
                self.store.attempt_address(&attempt.token, &elastic.id, elastic.ip).await?;
                self.fleet.forget().await;
                self.patience_ends(work).await?;
                Ok(Next::Again)
            }
            Err(error) if error.retry == Retry::Never => {
                log_refusal(work, &error);
                let message = format!("The machine got no Elastic IP: {error}");
                self.settle_failure(work, &Failure { step: None, message }).await?;
                Ok(Next::Again)
            }
            Err(error) => self.patience(work, &error).await,
        }
    }

    /// How soon the cloud shows what was just asked of it.
    fn soon(&self) -> Duration {
        self.cloud.pace().between.max(FIRST_PAUSE / 2)
    }

    /// What follows an idempotent call: look again soon, or be patient, or fail by a definite refusal.
    async fn call(&self, work: &Work, result: Result<(), CloudError>) -> Result<Next, StoreError> {
        match result {
            Ok(()) => {
                self.fleet.forget().await;
                self.patience_ends(work).await?;
                Ok(Next::After(self.soon()))
            }
            Err(error) if error.retry != Retry::Later => {
                log_refusal(work, &error);
                let failure = Failure { step: None, message: error.sentence };
                self.store.fail(work.instance.row, &failure).await?;
                Ok(Next::Again)
            }
            Err(error) => self.patience(work, &error).await,
        }
    }

    /// The cloud did it: what was said of patience is not true any more.
    async fn patience_ends(&self, work: &Work) -> Result<(), StoreError> {
        if self.retries.lock().await.remove(&work.instance.row).is_some() {
            self.store.set_notice(work.instance.row, None).await?;
        }
        Ok(())
    }

    /// Tries again later: the pause doubles with each time in a row, with jitter; the owner is told.
    async fn patience(&self, work: &Work, error: &CloudError) -> Result<Next, StoreError> {
        log_refusal(work, error);
        self.metrics.retry();
        let tries = {
            let mut retries = self.retries.lock().await;
            let tries = retries.entry(work.instance.row).or_default();
            *tries += 1;
            *tries
        };
        let notice = format!("The cloud asks for patience: {error} It is tried again.");
        self.store.set_notice(work.instance.row, Some(&notice)).await?;
        let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(6)).min(LONGEST_PAUSE);
        Ok(Next::After(pause.mul_f64(rand::random_range(0.5..1.0))))
    }
}

/// The request of an attempt, as it was saved.
fn request(work: &Work, attempt: &Attempt) -> Result<LaunchRequest, StoreError> {
    serde_json::from_str(&attempt.request).map_err(|error| StoreError::Impossible {
        table: "attempts",
        column: "request",
        row: work.instance.row.0,
        problem: error.to_string(),
    })
}

fn log_refusal(work: &Work, error: &CloudError) {
    tracing::warn!(instance = %work.instance.name, error = error as &dyn std::error::Error, "the cloud did not do it");
}

/// The machine of an instance that must have one here.
fn machine(work: &Work) -> Result<&InstanceId, StoreError> {
    work.instance.instance_id.as_ref().ok_or(StoreError::Missing("machine"))
}

/// The last line that a step printed, of at most 300 characters.
fn last_line(log: &str, step: Step) -> Option<String> {
    let start = format!("::ec step {step} start");
    let own = log.rfind(&start).map_or(log, |at| &log[at..]);
    let text = own.lines().rev().find_map(|line| match parse_line(line) {
        Line::Text(text) if !text.trim().is_empty() => Some(text.trim()),
        _ => None,
    })?;
    Some(text.chars().filter(|c| !c.is_control()).take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_the_failed_steps_own() {
        let log = "::ec step clone start\nfine\n::ec step clone ok 1.0\n::ec step migrate start\nTraceback\n  boom \n\n::ec step migrate failed 1\n";
        assert_eq!(last_line(log, Step::Migrate).as_deref(), Some("boom"));
        assert_eq!(last_line("::ec step migrate start\n", Step::Migrate), None);
    }
}
