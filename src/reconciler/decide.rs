//! What is to be done next about an instance: one function of what the store knows, what the cloud
//! shows and what time it is. It does nothing itself, so that every row of the design's table is a
//! test without a machine.

use std::time::Duration;

use crate::{
    cloud::{Machine, MachineState},
    domain::{DeploymentId, Failure, Image, ImageState, Reboot, Status, Timestamp, Wanted},
    store::Work,
};

/// Seconds a machine has from its launch to its log's first byte. A local one takes 5 and an EC2
/// one 30 to 60; five minutes leave room for a busy host.
pub const BOOT_SECONDS: i64 = 300;
/// Seconds a deployment has in all. The script bounds each step; together they stay below this.
pub const DEPLOY_SECONDS: i64 = 90 * 60;
/// Seconds a started machine has until its project answers again.
pub const START_SECONDS: i64 = 180;
/// Seconds after which a machine that was asked to reboot is surely not up as before any more.
pub const REBOOT_SECONDS: i64 = 15;
/// Seconds a machine has to stop: a local one is switched off in less than two minutes, and EC2 forces one that hangs
/// only when it is asked to.
pub const STOP_SECONDS: i64 = 600;
/// Seconds a running machine has to get a public IP. EC2 gives it as the machine starts.
pub const ADDRESS_SECONDS: i64 = 120;
/// No deadline fires this soon after the site starts: what was reported while it was down comes first.
pub const GRACE_SECONDS: i64 = 120;
/// How soon a machine that is on its way is looked at again.
const SOON: Duration = Duration::from_secs(1);
/// How soon a deployment is looked at again when nothing comes.
const PATIENT: Duration = Duration::from_secs(15);

/// What the cloud shows of an instance's machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The cloud could not be asked.
    Unknown,
    /// The cloud was asked just now, before something that matters here; it is asked again soon.
    Later,
    /// The cloud has no such machine.
    Nothing,
    /// The machine.
    Machine(Machine),
}

/// What else decides.
#[derive(Clone, Debug)]
pub struct Around {
    /// The time.
    pub now: Timestamp,
    /// When the site started.
    pub started_at: Timestamp,
    /// The newest image that machines can boot from.
    pub good: Option<Image>,
    /// The newest bake.
    pub newest: Option<Image>,
    /// Whether the cloud can launch machines.
    pub ready: bool,
    /// Whether machines are to have a public IP that they keep.
    pub gives_addresses: bool,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Nothing, until something changes.
    Rest,
    /// Nothing for so long.
    Wait(Duration),
    /// Write this status and look again.
    Become(Status),
    /// Note the machine's new public IP and look again.
    TakeAddress(Option<std::net::IpAddr>),
    /// Give the machine the public IP that it keeps.
    GiveAddress,
    /// Note that the owner's wish of this number is brought about.
    Observed(i64),
    /// Have a golden image baked, since the last bake failed before this was asked for.
    WantImage,
    /// Save an attempt for this deployment with its complete request.
    BeginAttempt(DeploymentId),
    /// Send the open attempt's request, again where need be.
    Launch,
    /// End the open attempt, and whatever came of it where it was sent.
    AbandonAttempt,
    /// Note that this deployment goes to the machine.
    BeginDeployment(DeploymentId),
    /// Start the running deployment's script on the machine, unless this process did already.
    RunScript,
    /// The log says that it is done and well.
    Finish,
    /// The log says that a step failed.
    DeploymentFailed,
    /// Its machine never reported.
    NeverReported,
    /// It did not end in time.
    Overdue(Failure),
    /// Fail the instance.
    Fail(Failure),
    /// Ask the project for its page, and be live once it answers.
    AwaitAnswer,
    /// Ask the cloud to start the machine.
    Start,
    /// Ask the cloud to reboot the machine.
    Reboot,
    /// Ask the cloud to stop the machine.
    Stop,
    /// Ask the cloud to terminate the machine; where it shows it no more, that is its end.
    Terminate {
        /// Whether it is shown no more.
        gone: bool,
    },
    /// The machine is gone.
    Gone(Failure),
    /// The cloud never showed the machine that it gave the id of.
    Lost(Failure),
}

impl Action {
    /// The action's name where it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Wait(_) => "wait",
            Self::Become(_) => "become",
            Self::TakeAddress(_) => "take_address",
            Self::GiveAddress => "give_address",
            Self::Observed(_) => "observed",
            Self::WantImage => "want_image",
            Self::BeginAttempt(_) => "begin_attempt",
            Self::Launch => "launch",
            Self::AbandonAttempt => "abandon_attempt",
            Self::BeginDeployment(_) => "begin_deployment",
            Self::RunScript => "run_script",
            Self::Finish => "finish",
            Self::DeploymentFailed => "deployment_failed",
            Self::NeverReported => "never_reported",
            Self::Overdue(_) => "overdue",
            Self::Fail(_) => "fail",
            Self::AwaitAnswer => "await_answer",
            Self::Start => "start",
            Self::Reboot => "reboot",
            Self::Stop => "stop",
            Self::Terminate { .. } => "terminate",
            Self::Gone(_) => "gone",
            Self::Lost(_) => "lost",
        }
    }
}

/// What is to be done next about an instance.
pub fn decide(work: &Work, seen: &Seen, around: &Around) -> Action {
    let status = work.instance.status;
    if status == Status::Terminated {
        let again = work.queued.is_some() && work.instance.wanted == Wanted::Present;
        return if again { Action::Become(Status::Requested) } else { Action::Rest };
    }
    if work.instance.wanted == Wanted::Absent || status == Status::Terminating {
        return terminate(work, seen);
    }
    if *seen == Seen::Later {
        return Action::Wait(SOON);
    }
    if let Some(action) = follow_machine(work, seen, around) {
        return action;
    }
    match status {
        Status::Requested => requested(work, around),
        Status::Launching => match &work.attempt {
            Some(attempt) if attempt.instance_id.is_none() => Action::Launch,
            Some(_) => Action::Become(Status::Booting),
            None => Action::Fail(failure("The launch was interrupted. Choose Try again.")),
        },
        Status::Booting | Status::Deploying => under_way(work, seen, around),
        // A reboot that was cut short may have left the machine stopped: it goes on.
        Status::Live if work.instance.reboot.is_some() && !is_to_stop(work) => Action::Reboot,
        Status::Live => at_rest(work, seen).unwrap_or(Action::Rest),
        Status::Failed => failed(work, seen),
        // Taken up once: a cloud that refuses fails the instance, which does not begin to stop again by itself.
        Status::Stopping if is_to_stop(work) => Action::Observed(work.generation),
        Status::Stopping => match seen {
            Seen::Machine(machine) if machine.state == MachineState::Stopped => {
                Action::Become(Status::Stopped)
            }
            _ if is_late(work, around, STOP_SECONDS) => Action::Fail(failure(
                "The machine did not stop. Choose Try again to deploy on it as it is, or terminate it.",
            )),
            Seen::Machine(machine) if machine.state == MachineState::Stopping => Action::Wait(SOON),
            _ => Action::Stop,
        },
        Status::Stopped => stopped(work, seen),
        Status::Starting => starting(work, seen, around),
        Status::Terminating | Status::Terminated => Action::Rest,
    }
}

fn failure(message: &str) -> Failure {
    Failure { step: None, message: message.to_owned() }
}

/// Terminating works from everywhere: a launch of which nothing is known yet is given up first.
fn terminate(work: &Work, seen: &Seen) -> Action {
    if work.instance.status != Status::Terminating {
        return Action::Become(Status::Terminating);
    }
    match &work.attempt {
        Some(attempt) if attempt.instance_id.is_none() => Action::AbandonAttempt,
        _ if work.instance.instance_id.is_some() => match seen {
            Seen::Machine(machine) => match machine.state {
                MachineState::Terminating => Action::Wait(SOON),
                state => Action::Terminate { gone: state == MachineState::Terminated },
            },
            Seen::Nothing => Action::Terminate { gone: true },
            Seen::Unknown => Action::Terminate { gone: false },
            Seen::Later => Action::Wait(SOON),
        },
        _ => Action::Gone(failure("The instance was terminated.")),
    }
}

/// What a machine does that nobody here asked for: it is gone, or has another address.
fn follow_machine(work: &Work, seen: &Seen, around: &Around) -> Option<Action> {
    work.instance.instance_id.as_ref()?;
    match seen {
        Seen::Unknown | Seen::Later => None,
        Seen::Nothing if work.instance.status == Status::Booting && never_heard(work) => {
            Some(Action::Lost(failure(
                "The cloud gave the id of a machine, but never showed the machine. Choose Try again: it launches another.",
            )))
        }
        Seen::Nothing => {
            Some(Action::Gone(failure("The machine is gone: it was terminated outside this site.")))
        }
        Seen::Machine(Machine { state: MachineState::Terminated, reason: Some(reason), .. })
            if work.instance.status == Status::Booting && never_heard(work) =>
        {
            let message = format!(
                "The cloud ended the machine before it was up: {reason}. Choose Try again once that is cured."
            );
            Some(Action::Lost(failure(&message)))
        }
        Seen::Machine(machine) if machine.state == MachineState::Terminated => {
            Some(Action::Gone(failure("The machine is gone: it was terminated outside this site.")))
        }
        Seen::Machine(machine) if machine.state == MachineState::Terminating => Some(Action::Wait(SOON)),
        Seen::Machine(machine) if wants_address(work, machine, around) => Some(Action::GiveAddress),
        Seen::Machine(machine) if machine.public_ip != work.instance.public_ip => {
            Some(Action::TakeAddress(machine.public_ip))
        }
        Seen::Machine(_) => None,
    }
}

/// Whether nothing at all has come of the machine.
fn never_heard(work: &Work) -> bool {
    work.running.as_ref().is_none_or(|running| running.first_byte_at.is_none())
}

/// Whether a machine on its way is to get the public IP that it keeps. One that has been without since before that was
/// wanted goes on so: its visitors know the address that it has.
fn wants_address(work: &Work, machine: &Machine, around: &Around) -> bool {
    around.gives_addresses
        && machine.state == MachineState::Running
        && matches!(work.instance.status, Status::Booting | Status::Deploying)
        && work.serving.is_none()
        && work.attempt.as_ref().is_some_and(|attempt| attempt.address.is_none())
}

fn requested(work: &Work, around: &Around) -> Action {
    let Some(queued) = &work.queued else {
        return Action::Fail(failure("There is nothing to deploy. Choose Try again."));
    };
    if !around.ready {
        // The page says why; the cure wakes it up.
        return Action::Wait(PATIENT);
    }
    if around.good.is_some() {
        return Action::BeginAttempt(queued.id);
    }
    match &around.newest {
        Some(image) if image.state == ImageState::Failed => {
            if image.finished_at.is_some_and(|ended| ended < queued.created_at) {
                return Action::WantImage;
            }
            let why = image.error.as_deref().unwrap_or("its log says why");
            Action::Fail(Failure {
                step: None,
                message: format!("There is no golden image to boot from: {why}"),
            })
        }
        _ => Action::Wait(PATIENT),
    }
}

/// A deployment that a machine has: booting to it, or running it.
fn under_way(work: &Work, seen: &Seen, around: &Around) -> Action {
    let Some(running) = &work.running else {
        return match &work.queued {
            Some(queued) => Action::BeginDeployment(queued.id),
            None => Action::Fail(failure("The deployment was interrupted. Choose Try again.")),
        };
    };
    if running.report.done() {
        return Action::Finish;
    }
    if running.report.failed().is_some() {
        return Action::DeploymentFailed;
    }
    let booting = work.instance.status == Status::Booting;
    if booting && running.first_byte_at.is_some() {
        return Action::Become(Status::Deploying);
    }
    if let Seen::Machine(machine) = seen
        && machine.state == MachineState::Stopped
    {
        return Action::Fail(Failure {
            step: running.report.reached(),
            message:
                "The machine stopped during the deployment. Choose Try again to start it and deploy anew."
                    .into(),
        });
    }
    let grace = around.now < around.started_at.plus_seconds(GRACE_SECONDS);
    if let Seen::Machine(machine) = seen
        && machine.state == MachineState::Running
        && machine.public_ip.is_none()
        && around.now > work.instance.status_since.plus_seconds(ADDRESS_SECONDS)
        && booting
    {
        return Action::Fail(failure(
            "The machine runs, but has no public IP: its subnet gives none. The site's admin turns on auto-assign public IPv4 of the subnet, names another in SUBNET_IDS, or sets ELASTIC_IP=true. Then terminate the instance and deploy again.",
        ));
    }
    if booting {
        let late = around.now > work.instance.status_since.plus_seconds(BOOT_SECONDS);
        // Its public IP is what its owner waits for.
        let pause = if work.instance.public_ip.is_none() { SOON * 2 } else { PATIENT };
        return if late && !grace { Action::NeverReported } else { Action::Wait(pause) };
    }
    if running.first_byte_at.is_none() {
        let late = running.begun_at.is_some_and(|begun| around.now > begun.plus_seconds(BOOT_SECONDS));
        return if late && !grace { Action::NeverReported } else { Action::RunScript };
    }
    let late = running.begun_at.is_some_and(|begun| around.now > begun.plus_seconds(DEPLOY_SECONDS));
    if late && !grace {
        let minutes = DEPLOY_SECONDS / 60;
        return Action::Overdue(Failure {
            step: running.report.reached(),
            message: format!(
                "The deployment did not end within {minutes} minutes; the log's last lines say how far it came."
            ),
        });
    }
    Action::Wait(PATIENT)
}

/// A machine that runs and has nothing under way: stop it, deploy what waits, or see that it was stopped.
fn at_rest(work: &Work, seen: &Seen) -> Option<Action> {
    // A wish is noted before the machine is looked at, so that one found stopped is not taken for one to be started.
    if work.generation != work.observed_generation {
        return Some(match work.instance.wanted {
            Wanted::Stopped => Action::Become(Status::Stopping),
            Wanted::Present | Wanted::Absent => Action::Observed(work.generation),
        });
    }
    if let Seen::Machine(machine) = seen
        && matches!(machine.state, MachineState::Stopped | MachineState::Stopping)
        && work.queued.is_none()
    {
        return Some(Action::Become(Status::Stopped));
    }
    let queued = work.queued.as_ref()?;
    match seen {
        Seen::Machine(machine) if machine.state == MachineState::Running => {
            Some(Action::BeginDeployment(queued.id))
        }
        Seen::Machine(machine) if machine.state == MachineState::Stopped => {
            Some(Action::Become(Status::Stopped))
        }
        _ => Some(Action::Wait(SOON)),
    }
}

/// A failed instance rests until its owner tries again: on its machine if there is one, else on a new one.
fn failed(work: &Work, seen: &Seen) -> Action {
    if work.queued.is_none() {
        return if is_to_stop(work) && work.instance.instance_id.is_some() {
            Action::Become(Status::Stopping)
        } else {
            Action::Rest
        };
    }
    if work.instance.instance_id.is_none() {
        return Action::Become(Status::Requested);
    }
    at_rest(work, seen).unwrap_or(Action::Rest)
}

/// A stopped machine is started where its owner asked for it, or was by somebody else. What an edit queued waits for
/// that: it leaves the instance wanted stopped.
fn stopped(work: &Work, seen: &Seen) -> Action {
    let Seen::Machine(machine) = seen else { return Action::Wait(PATIENT) };
    let asked = work.instance.wanted == Wanted::Present
        && (work.queued.is_some() || work.generation != work.observed_generation);
    match machine.state {
        MachineState::Running | MachineState::Pending => Action::Become(Status::Starting),
        MachineState::Stopped if asked => Action::Become(Status::Starting),
        MachineState::Stopping => Action::Wait(SOON),
        MachineState::Stopped | MachineState::Terminating | MachineState::Terminated
            if work.generation != work.observed_generation =>
        {
            Action::Observed(work.generation)
        }
        MachineState::Stopped | MachineState::Terminating | MachineState::Terminated => Action::Rest,
    }
}

/// Whether the status has lasted longer than it may; never shortly after the site's start.
fn is_late(work: &Work, around: &Around, seconds: i64) -> bool {
    around.now > work.instance.status_since.plus_seconds(seconds)
        && around.now > around.started_at.plus_seconds(GRACE_SECONDS)
}

/// Whether the owner wants it stopped, and that has not begun.
fn is_to_stop(work: &Work) -> bool {
    work.generation != work.observed_generation && work.instance.wanted == Wanted::Stopped
}

fn starting(work: &Work, seen: &Seen, around: &Around) -> Action {
    // Until it is down the project answers as before.
    if let Some(Reboot::Sent(at)) = work.instance.reboot
        && around.now < at.plus_seconds(REBOOT_SECONDS)
    {
        return Action::Wait(SOON);
    }
    let Seen::Machine(machine) = seen else { return Action::Wait(SOON) };
    let late = is_late(work, around, START_SECONDS);
    match machine.state {
        MachineState::Stopped if !late => Action::Start,
        MachineState::Running => match (&work.queued, &work.serving) {
            (Some(queued), _) => Action::BeginDeployment(queued.id),
            (None, Some(_)) if late => Action::Fail(failure(
                "The machine was started, but the project does not answer. Choose Try again.",
            )),
            (None, Some(_)) => Action::AwaitAnswer,
            (None, None) => {
                Action::Fail(failure("The machine runs, but nothing was deployed on it. Choose Try again."))
            }
        },
        _ if late => Action::Fail(failure("The machine did not start.")),
        _ => Action::Wait(SOON),
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
