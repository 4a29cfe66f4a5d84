//! A proxy in front of moto that behaves as EC2's documentation says where moto does not, does what a test says
//! where it comes to delays, and makes go wrong what a test asks for. The site under test takes it for AWS.

pub mod call;
pub mod ec2;
pub mod faults;
pub mod http;
pub mod ssm;
pub mod xml;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use call::Call;
use ec2::{Behaviour, Known};
use faults::{Fault, Gate, Rules};
use http::{Reply, Request};
use ssm::Ssm;
use tokio::{net::TcpListener, task::JoinHandle};
use url::form_urlencoded;
use xml::Element;

use crate::moto;

/// A proxy, which ends with its test.
pub struct Proxy {
    pub url: String,
    inner: Arc<Inner>,
    serving: JoinHandle<()>,
}

struct Inner {
    account: String,
    client: reqwest::Client,
    calls: Mutex<Vec<Call>>,
    rules: Rules,
    behaviour: Mutex<Behaviour>,
    known: Known,
    ssm: Mutex<Ssm>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Proxy {
    /// A proxy in front of one account of moto's.
    pub async fn start(account: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            account: account.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            calls: Mutex::default(),
            rules: Rules::default(),
            behaviour: Mutex::default(),
            known: Known::default(),
            ssm: Mutex::default(),
        });
        let answering = inner.clone();
        let serving = tokio::spawn(http::serve(listener, move |request| answering.clone().answer(request)));
        Self { url, inner, serving }
    }

    /// Sets how EC2 behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.inner.behaviour.lock().unwrap());
    }

    /// Sets what Systems Manager knows and answers from now on.
    pub fn ssm<T>(&self, change: impl FnOnce(&mut Ssm) -> T) -> T {
        change(&mut self.inner.ssm.lock().unwrap())
    }

    /// What goes wrong the next `times` that an action is called.
    pub fn fault(&self, action: &str, times: usize, fault: Fault) {
        self.inner.rules.add(action, times, fault, |_| true);
    }

    /// The same for calls of which `only` is true.
    pub fn fault_only(
        &self,
        action: &str,
        times: usize,
        fault: Fault,
        only: impl Fn(&Call) -> bool + Send + 'static,
    ) {
        self.inner.rules.add(action, times, fault, only);
    }

    /// A gate before which the next `times` calls of an action wait.
    pub fn hold_requests(&self, action: &str, times: usize) -> Gate {
        self.inner.rules.hold(action, times, Fault::HoldRequest)
    }

    /// A gate at which the answers to the next `times` calls of an action wait; the calls went through.
    pub fn hold_replies(&self, action: &str, times: usize) -> Gate {
        self.inner.rules.hold(action, times, Fault::HoldReply)
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.inner.rules.clear();
    }

    /// Every call so far, as it came.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.calls.lock().unwrap().clone()
    }

    /// Every call of an action so far.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.action == action).collect()
    }

    /// Forgets the calls so far.
    pub fn forget_calls(&self) {
        self.inner.calls.lock().unwrap().clear();
    }
}

impl Inner {
    /// Records a call and answers it. It goes on to its end when whoever asked is gone.
    async fn answer(self: Arc<Self>, request: Request) -> Option<Reply> {
        let call = Call::of(&request);
        let number = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(call.clone());
            calls.len() - 1
        };
        let reply = self.with_faults(&call, &request).await;
        if let (Some(reply), Some(call)) = (&reply, self.calls.lock().unwrap().get_mut(number)) {
            call.status = Some(reply.status);
        }
        reply
    }

    async fn with_faults(&self, call: &Call, request: &Request) -> Option<Reply> {
        match self.rules.take(call) {
            None => Some(self.perform(call, request).await),
            Some(Fault::HoldRequest(gate)) => match gate.pass().await {
                true => Some(self.perform(call, request).await),
                false => None,
            },
            Some(Fault::HoldReply(gate)) => {
                let reply = self.perform(call, request).await;
                gate.pass().await.then_some(reply)
            }
            Some(Fault::DropReply) => {
                self.perform(call, request).await;
                None
            }
            Some(Fault::Answer { status, code, message }) => Some(call.error(status, &code, &message)),
            Some(Fault::AnswerAfterwards { status, code, message }) => {
                self.perform(call, request).await;
                Some(call.error(status, &code, &message))
            }
            Some(Fault::Hang) => {
                self.perform(call, request).await;
                std::future::pending().await
            }
            Some(Fault::Lose) => None,
        }
    }

    async fn perform(&self, call: &Call, request: &Request) -> Reply {
        let own = match call.service.as_str() {
            "ec2" => self.ec2(call).await,
            "ssm" => self.ssm(call),
            _ => None,
        };
        match own {
            Some(reply) => reply,
            None => self.forward(request).await,
        }
    }

    /// Sends a request on as it is.
    async fn forward(&self, request: &Request) -> Reply {
        let mut sent = self.client.post(moto::moto()).header(moto::ACCOUNT, &self.account);
        for name in ["authorization", "content-type", "x-amz-target", "x-amz-date"] {
            if !request.header(name).is_empty() {
                sent = sent.header(name, request.header(name));
            }
        }
        send(sent.body(request.body.clone())).await
    }

    /// Asks moto's EC2.
    async fn ask(&self, action: &str, params: &BTreeMap<String, String>) -> Reply {
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("Action", action), ("Version", "2016-11-15")])
            .extend_pairs(params)
            .finish();
        let scope = format!("proxy/20260101/{}/ec2/aws4_request", moto::REGION);
        let sent = self
            .client
            .post(moto::moto())
            .header(moto::ACCOUNT, &self.account)
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, Signature=0"))
            .header("content-type", "application/x-www-form-urlencoded");
        send(sent.body(form)).await
    }
}

async fn send(request: reqwest::RequestBuilder) -> Reply {
    let answer = request.send().await.expect("moto answers");
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let (status, kind) = (answer.status().as_u16(), kind.unwrap_or("text/xml").to_owned());
    Reply { status, kind, body: answer.bytes().await.expect("moto's whole answer").to_vec() }
}

impl Reply {
    /// The XML of an answer.
    fn xml(&self) -> Option<Element> {
        Element::parse(std::str::from_utf8(&self.body).ok()?)
    }
}
