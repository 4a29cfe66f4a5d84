//! What goes wrong, by rules: each has an action, how often it applies, and what happens then.

use std::sync::Mutex;

use tokio::sync::watch;

use super::call::Call;

/// What happens to a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It waits at the gate before it goes through.
    HoldRequest(Gate),
    /// It goes through, and its answer waits at the gate.
    HoldReply(Gate),
    /// It goes through, and the connection is cut instead of an answer.
    DropReply,
    /// It does not go through: this is the answer.
    Answer { status: u16, code: String, message: String },
    /// It goes through, and this is the answer all the same.
    AnswerAfterwards { status: u16, code: String, message: String },
    /// It goes through, and is never answered.
    Hang,
    /// It does not go through, and the connection is cut.
    Lose,
}

impl Fault {
    /// An answer with an error of this status and code.
    pub fn answer(status: u16, code: &str, message: &str) -> Self {
        Self::Answer { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// An error as an answer to what went through.
    pub fn afterwards(status: u16, code: &str) -> Self {
        Self::AnswerAfterwards { status, code: code.to_owned(), message: "An error occurred".to_owned() }
    }
}

/// How long calls may take to come to a gate.
const REACHED: std::time::Duration = std::time::Duration::from_secs(180);

/// Where calls wait until a test lets them go on, or cuts them off.
#[derive(Clone, Debug)]
pub struct Gate {
    waiting: watch::Sender<usize>,
    open: watch::Sender<Open>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Closed,
    Released,
    Lost,
}

impl Gate {
    fn new() -> Self {
        Self { waiting: watch::Sender::new(0), open: watch::Sender::new(Open::Closed) }
    }

    /// Waits until so many calls have come to the gate.
    pub async fn reached(&self, calls: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting >= calls);
        tokio::time::timeout(REACHED, reached).await.expect("the calls come").unwrap();
    }

    /// Lets all calls go on, those too that are to come.
    pub fn release(&self) {
        self.open.send_replace(Open::Released);
    }

    /// Cuts all calls off, those too that are to come.
    pub fn lose(&self) {
        self.open.send_replace(Open::Lost);
    }

    /// Waits; whether the call may go on.
    pub(super) async fn pass(&self) -> bool {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let open = *self.open.subscribe().wait_for(|open| *open != Open::Closed).await.unwrap();
        open == Open::Released
    }
}

type Only = Box<dyn Fn(&Call) -> bool + Send>;

struct Rule {
    action: String,
    only: Only,
    left: usize,
    fault: Fault,
}

/// The rules of a proxy. The first one that fits a call applies.
#[derive(Default)]
pub struct Rules(Mutex<Vec<Rule>>);

impl Rules {
    pub fn add(
        &self,
        action: &str,
        times: usize,
        fault: Fault,
        only: impl Fn(&Call) -> bool + Send + 'static,
    ) {
        let rule = Rule { action: action.to_owned(), only: Box::new(only), left: times, fault };
        self.0.lock().unwrap().push(rule);
    }

    /// A gate at which calls of an action wait, before they go through or after.
    pub fn hold(&self, action: &str, times: usize, fault: fn(Gate) -> Fault) -> Gate {
        let gate = Gate::new();
        self.add(action, times, fault(gate.clone()), |_| true);
        gate
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    /// What happens to this call.
    pub(super) fn take(&self, call: &Call) -> Option<Fault> {
        let mut rules = self.0.lock().unwrap();
        let rule =
            rules.iter_mut().find(|rule| rule.left > 0 && rule.action == call.action && (rule.only)(call))?;
        rule.left -= 1;
        Some(rule.fault.clone())
    }
}
