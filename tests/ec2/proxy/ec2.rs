//! EC2 where moto is not like it: launch tokens, what takes its time, what is refused.
//! <https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-idempotency.html>,
//! <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex as Lock,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::Mutex;

use super::{
    Inner,
    call::{Call, answer_xml},
    http::Reply,
    xml::Element,
};

/// Most bytes of user data.
const USER_DATA_MAX: usize = 16 * 1024;
/// Most characters of a launch token.
const TOKEN_MAX: usize = 64;

/// How EC2 behaves. What takes its time takes so many `DescribeInstances` or `DescribeImages` that would show it.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Whether the same launch token is the same machine; only the control experiment switches it off.
    pub idempotent: bool,
    /// How long a new machine is not shown, and not known by its id.
    pub hidden: u32,
    /// After that, how long it is pending.
    pub pending: u32,
    /// Besides, how long it has no public IP, pending or not.
    pub addressless: u32,
    /// How long a machine is stopping, and shutting down.
    pub leaving: u32,
    /// How long a new image is pending.
    pub image_pending: u32,
    /// What every machine's console says.
    pub console: String,
    /// Whether everything is told as if it had been made long ago.
    pub aged: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            idempotent: true,
            hidden: 0,
            pending: 0,
            addressless: 0,
            leaving: 0,
            image_pending: 0,
            console: String::new(),
            aged: false,
        }
    }
}

/// What is known of an account besides what moto knows.
#[derive(Default)]
pub struct Known {
    /// Launches by token and zone. Held while one is under way: a second one with the same token waits for it.
    launches: Mutex<HashMap<(String, String), Launch>>,
    /// What each machine still takes its time with.
    machines: Lock<HashMap<String, Slow>>,
    images: Lock<HashMap<String, u32>>,
    zones: Lock<HashMap<String, String>>,
}

/// A launch that went through.
#[derive(Clone)]
struct Launch {
    params: BTreeMap<String, String>,
    reply: Reply,
    instance: String,
}

/// What a machine still takes its time with, as in [`Behaviour`].
#[derive(Clone, Copy, Debug, Default)]
struct Slow {
    hidden: u32,
    pending: u32,
    addressless: u32,
    leaving: u32,
}

impl Inner {
    /// The answer to a call; none where moto's is as good as EC2's.
    pub(super) async fn ec2(&self, call: &Call) -> Option<Reply> {
        let reply = self.ec2_now(call).await;
        if !call.action.starts_with("Describe") || !self.behaviour.lock().unwrap().aged {
            return reply;
        }
        let reply = match reply {
            Some(reply) => reply,
            None => self.ask(&call.action, &call.params).await,
        };
        let Some(mut xml) = reply.xml().filter(|_| reply.status == 200) else { return Some(reply) };
        make_old(&mut xml);
        Some(answer_xml(200, &xml.to_string()))
    }

    async fn ec2_now(&self, call: &Call) -> Option<Reply> {
        let dry = call.param("DryRun") == "true";
        match call.action.as_str() {
            "RunInstances" if !dry => Some(self.run_instances(call).await),
            "DescribeInstances" => Some(self.describe_instances(call).await),
            "StartInstances" | "StopInstances" | "RebootInstances" | "TerminateInstances" if !dry => {
                Some(self.change_power(call).await)
            }
            "CreateImage" if !dry => Some(self.create_image(call).await),
            "DescribeImages" => Some(self.describe_images(call).await),
            "GetConsoleOutput" if !dry => Some(self.console(call).await),
            "ReleaseAddress" if !dry => self.refuse_release(call).await,
            _ => None,
        }
    }

    async fn run_instances(&self, call: &Call) -> Reply {
        let data = STANDARD.decode(call.param("UserData")).unwrap_or_default();
        if data.len() > USER_DATA_MAX {
            return call.error(400, "InvalidParameterValue", "User data is limited to 16384 bytes");
        }
        let token = call.param("ClientToken");
        if token.len() > TOKEN_MAX || !token.is_ascii() {
            return call.error(400, "InvalidParameterValue", "Client token is invalid");
        }
        let idempotent = self.behaviour.lock().unwrap().idempotent;
        if token.is_empty() || !idempotent {
            return self.launch(call).await.0;
        }
        // The token is bound to the zone that the request names.
        let key = (token.to_owned(), self.zone(call.subnet()).await);
        let mut launches = self.known.launches.lock().await;
        if let Some(known) = launches.get(&key) {
            if known.params != call.params {
                return call.error(
                    400,
                    "IdempotentParameterMismatch",
                    "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
                );
            }
            if self.state(&known.instance).await == "terminated" {
                return call.error(
                    400,
                    "IdempotentInstanceTerminated",
                    &format!("The instance {} of this client token is terminated.", known.instance),
                );
            }
            return known.reply.clone();
        }
        let (reply, instance) = self.launch(call).await;
        if let Some(instance) = instance {
            launches.insert(key, Launch { params: call.params.clone(), reply: reply.clone(), instance });
        }
        reply
    }

    /// Has moto launch it; EC2's reply knows no public IP yet.
    async fn launch(&self, call: &Call) -> (Reply, Option<String>) {
        let reply = self.ask("RunInstances", &call.params).await;
        let Some(mut xml) = reply.xml() else { return (reply, None) };
        if reply.status != 200 {
            let (code, message) = error_of(&xml);
            return (refusal(call, &code, &message).unwrap_or(reply), None);
        }
        let Some(id) = xml.all("instanceId").first().map(|id| id.text()) else { return (reply, None) };
        let behaviour = self.behaviour.lock().unwrap().clone();
        let Behaviour { hidden, pending, addressless, .. } = behaviour;
        let slow = Slow { hidden, pending, addressless, leaving: 0 };
        self.known.machines.lock().unwrap().insert(id.clone(), slow);
        for machine in instances(&mut xml) {
            without_address(machine);
        }
        (answer_xml(200, &xml.to_string()), Some(id))
    }

    async fn describe_instances(&self, call: &Call) -> Reply {
        if let Some(id) = self.hidden(&call.list("InstanceId")) {
            return not_found(call, &id);
        }
        let reply = self.ask("DescribeInstances", &call.params).await;
        let Some(mut xml) = reply.xml().filter(|_| reply.status == 200) else { return reply };
        let mut known = self.known.machines.lock().unwrap();
        let Some(reservations) = xml.child_mut("reservationSet") else { return reply };
        reservations.children.retain(|reservation| {
            // A site launches one machine at a time, so that a reservation is a machine.
            let Some(slow) = id_of(reservation).and_then(|id| known.get_mut(&id)) else { return true };
            !take(&mut slow.hidden)
        });
        for machine in instances(&mut xml) {
            let Some(slow) = known.get_mut(&machine.text_of("instanceId")) else { continue };
            let state = machine.child("instanceState").map(|state| state.text_of("name")).unwrap_or_default();
            match state.as_str() {
                "running" => {
                    if take(&mut slow.pending) {
                        set_state(machine, 0, "pending");
                    }
                    if take(&mut slow.addressless) {
                        without_address(machine);
                    }
                }
                "stopped" if take(&mut slow.leaving) => set_state(machine, 64, "stopping"),
                "terminated" if take(&mut slow.leaving) => set_state(machine, 32, "shutting-down"),
                _ => {}
            }
        }
        answer_xml(200, &xml.to_string())
    }

    /// Refuses what the machines' states do not allow, and remembers that leaving takes its time.
    async fn change_power(&self, call: &Call) -> Reply {
        let ids = call.list("InstanceId");
        if let Some(id) = self.hidden(&ids) {
            return not_found(call, &id);
        }
        let doing = match call.action.as_str() {
            "StartInstances" => "started",
            "StopInstances" => "stopped",
            "RebootInstances" => "rebooted",
            _ => "",
        };
        let mut leaves = Vec::new();
        for id in &ids {
            let state = self.state(id).await;
            let (pending, leaving) = {
                let known = self.known.machines.lock().unwrap();
                let slow = known.get(id).copied().unwrap_or_default();
                (slow.pending > 0, slow.leaving > 0)
            };
            let refused = match (doing, state.as_str()) {
                ("", _) => false,
                (_, "terminated") | ("rebooted", "stopped") => true,
                ("started", "stopped") => leaving,
                ("stopped" | "rebooted", "running") => pending,
                _ => false,
            };
            if refused {
                let message = format!("The instance '{id}' is not in a state from which it can be {doing}.");
                return call.error(400, "IncorrectInstanceState", &message);
            }
            let goes = matches!((doing, state.as_str()), ("stopped" | "", "running") | ("", "stopped"));
            if goes {
                leaves.push(id.clone());
            }
        }
        // moto fails where a machine is terminated that is: its interface is gone already.
        if doing.is_empty() && leaves.is_empty() && !ids.is_empty() && self.all_known(&ids).await {
            return terminated_already(&ids);
        }
        let reply = self.ask(&call.action, &call.params).await;
        if reply.status == 200 {
            let behaviour = self.behaviour.lock().unwrap().clone();
            let mut known = self.known.machines.lock().unwrap();
            for id in leaves {
                known.entry(id).or_default().leaving = behaviour.leaving;
            }
            if doing == "started" {
                for id in ids {
                    let slow = known.entry(id).or_default();
                    (slow.pending, slow.addressless) = (behaviour.pending, behaviour.addressless);
                }
            }
        }
        reply
    }

    /// moto fails where tags of snapshots come with the image: they are put on afterwards.
    async fn create_image(&self, call: &Call) -> Reply {
        let tags = call.tags("snapshot");
        let of_snapshots: Vec<_> = (1..)
            .map(|n| format!("TagSpecification.{n}."))
            .take_while(|name| call.params.contains_key(&format!("{name}ResourceType")))
            .filter(|name| call.param(&format!("{name}ResourceType")) == "snapshot")
            .collect();
        let mut params = call.params.clone();
        params.retain(|name, _| !of_snapshots.iter().any(|prefix| name.starts_with(prefix)));
        let reply = self.ask("CreateImage", &params).await;
        let id = reply.xml().filter(|_| reply.status == 200).map(|xml| xml.text_of("imageId"));
        let Some(id) = id else { return reply };
        let pending = self.behaviour.lock().unwrap().image_pending;
        self.known.images.lock().unwrap().insert(id.clone(), pending);
        if !tags.is_empty() {
            let image = self.ask("DescribeImages", &one("ImageId.1", &id)).await;
            for snapshot in image.xml().iter().flat_map(|xml| xml.all("snapshotId")) {
                let mut params = one("ResourceId.1", &snapshot.text());
                for (n, (key, value)) in tags.iter().enumerate() {
                    params.insert(format!("Tag.{}.Key", n + 1), key.clone());
                    params.insert(format!("Tag.{}.Value", n + 1), value.clone());
                }
                self.ask("CreateTags", &params).await;
            }
        }
        reply
    }

    async fn describe_images(&self, call: &Call) -> Reply {
        let reply = self.ask("DescribeImages", &call.params).await;
        let Some(mut xml) = reply.xml().filter(|_| reply.status == 200) else { return reply };
        let mut known = self.known.images.lock().unwrap();
        let images = xml.child_mut("imagesSet").map(|set| set.children.iter_mut());
        for image in images.into_iter().flatten() {
            if known.get_mut(&image.text_of("imageId")).is_some_and(take) {
                image.put(Element::new("imageState", "pending"));
            }
        }
        answer_xml(200, &xml.to_string())
    }

    async fn console(&self, call: &Call) -> Reply {
        let id = call.param("InstanceId");
        if self.state(id).await.is_empty() {
            return not_found(call, id);
        }
        let text = STANDARD.encode(&self.behaviour.lock().unwrap().console);
        answer_xml(
            200,
            &format!(
                "<GetConsoleOutputResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>proxy</requestId><instanceId>{id}</instanceId><timestamp>2026-01-01T00:00:00.000Z</timestamp><output>{text}</output></GetConsoleOutputResponse>"
            ),
        )
    }

    /// An address that something has is not released.
    async fn refuse_release(&self, call: &Call) -> Option<Reply> {
        let id = call.param("AllocationId");
        let there = self.ask("DescribeAddresses", &one("AllocationId.1", id)).await.xml()?;
        let used = there.all("associationId").iter().any(|association| !association.text().is_empty());
        used.then(|| call.error(400, "InvalidIPAddress.InUse", &format!("Address {id} is in use.")))
    }

    /// The first of these machines that is not known yet.
    fn hidden(&self, ids: &[String]) -> Option<String> {
        let mut known = self.known.machines.lock().unwrap();
        let mut hidden =
            ids.iter().filter(|id| known.get_mut(*id).is_some_and(|slow| take(&mut slow.hidden)));
        hidden.next().cloned()
    }

    /// What a machine does in moto; nothing where there is none.
    async fn state(&self, id: &str) -> String {
        let there = self.ask("DescribeInstances", &one("InstanceId.1", id)).await.xml();
        let state =
            there.as_ref().and_then(|xml| xml.all("instanceState").first().map(|s| s.text_of("name")));
        state.unwrap_or_default()
    }

    async fn all_known(&self, ids: &[String]) -> bool {
        for id in ids {
            if self.state(id).await.is_empty() {
                return false;
            }
        }
        true
    }

    async fn zone(&self, subnet: &str) -> String {
        if let Some(zone) = self.known.zones.lock().unwrap().get(subnet) {
            return zone.clone();
        }
        let there = self.ask("DescribeSubnets", &one("SubnetId.1", subnet)).await.xml();
        let zone = there.and_then(|xml| xml.all("availabilityZone").first().map(|zone| zone.text()));
        let zone = zone.unwrap_or_default();
        self.known.zones.lock().unwrap().insert(subnet.to_owned(), zone.clone());
        zone
    }
}

/// Takes one of a number, where there is one left.
fn take(left: &mut u32) -> bool {
    let some = *left > 0;
    *left -= u32::from(some);
    some
}

fn one(name: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(name.to_owned(), value.to_owned())])
}

fn not_found(call: &Call, id: &str) -> Reply {
    call.error(400, "InvalidInstanceID.NotFound", &format!("The instance ID '{id}' does not exist"))
}

/// Terminating what is terminated succeeds.
fn terminated_already(ids: &[String]) -> Reply {
    let state = "<code>48</code><name>terminated</name>";
    let items: String = ids
        .iter()
        .map(|id| {
            format!(
                "<item><instanceId>{id}</instanceId><currentState>{state}</currentState><previousState>{state}</previousState></item>"
            )
        })
        .collect();
    answer_xml(
        200,
        &format!(
            "<TerminateInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>proxy</requestId><instancesSet>{items}</instancesSet></TerminateInstancesResponse>"
        ),
    )
}

fn error_of(xml: &Element) -> (String, String) {
    let first = |name| xml.all(name).first().map(|found| found.text()).unwrap_or_default();
    (first("Code"), first("Message"))
}

/// What EC2 answers where moto refuses with another code.
fn refusal(call: &Call, code: &str, message: &str) -> Option<Reply> {
    let message = match code {
        "InvalidInstanceType.NotFound" => {
            format!("Invalid value '{}' for InstanceType.", call.param("InstanceType"))
        }
        "NoSuchEntity" if message.starts_with("Instance profile") => format!(
            "Value ({}) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
            call.param("IamInstanceProfile.Name")
        ),
        _ => return None,
    };
    Some(call.error(400, "InvalidParameterValue", &message))
}

/// The machines of a reply to `RunInstances` or `DescribeInstances`.
fn instances(xml: &mut Element) -> Vec<&mut Element> {
    let mut found = Vec::new();
    for child in &mut xml.children {
        match child.name.as_str() {
            "instancesSet" => found.extend(child.children.iter_mut()),
            "reservationSet" => {
                let sets = child.children.iter_mut().filter_map(|item| item.child_mut("instancesSet"));
                found.extend(sets.flat_map(|set| set.children.iter_mut()));
            }
            _ => {}
        }
    }
    found
}

fn id_of(reservation: &Element) -> Option<String> {
    Some(reservation.child("instancesSet")?.children.first()?.text_of("instanceId"))
}

fn set_state(machine: &mut Element, code: u8, name: &str) {
    let mut state = Element::new("instanceState", "");
    state.put(Element::new("code", &code.to_string()));
    state.put(Element::new("name", name));
    machine.put(state);
}

fn without_address(machine: &mut Element) {
    machine.remove_all("association");
    machine.children.retain(|child| !matches!(child.name.as_str(), "ipAddress" | "dnsName"));
}

/// Makes everything in an answer as old as EC2 itself.
fn make_old(xml: &mut Element) {
    if matches!(xml.name.as_str(), "launchTime" | "attachTime" | "createTime" | "startTime" | "creationDate")
    {
        *xml = Element::new(&xml.name, "2006-08-25T00:00:00.000Z");
    }
    xml.children.iter_mut().for_each(make_old);
}
