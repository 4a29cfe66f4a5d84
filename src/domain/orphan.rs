//! What this site has in its cloud, and what of that no row knows: orphans. They are shown, and nothing is done about
//! one unless an admin asks for it.

use std::{collections::HashSet, fmt, net::IpAddr, str::FromStr};

use super::{ImageId, InstanceId, MachineType, ServerName, Status, Timestamp, Username, Wanted};

/// Seconds from when a thing is made until it can be an orphan: a launch whose id is not written yet, a disk that is
/// being attached, a machine that has just gone with what belongs to it.
pub const YOUNG_SECONDS: i64 = 600;

/// A kind of thing that a cloud has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HoldingKind {
    /// A machine, running or stopped.
    Machine,
    /// A golden image.
    Image,
    /// A public IP that is kept: an Elastic IP.
    Address,
    /// A disk.
    Volume,
    /// A copy of a disk that a golden image was made of.
    Snapshot,
}

impl HoldingKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Machine, Self::Image, Self::Address, Self::Volume, Self::Snapshot];

    /// The kind in the database, the metrics and sentences.
    pub fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Image => "image",
            Self::Address => "address",
            Self::Volume => "volume",
            Self::Snapshot => "snapshot",
        }
    }

    /// The kind as people read it in a list.
    pub fn title(self) -> &'static str {
        match self {
            Self::Machine => "Machine",
            Self::Image => "Golden image",
            Self::Address => "Elastic IP",
            Self::Volume => "Volume",
            Self::Snapshot => "Snapshot",
        }
    }
}

/// The text names no kind or wish.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not known")]
pub struct UnknownOfOrphan(String);

impl FromStr for HoldingKind {
    type Err = UnknownOfOrphan;

    fn from_str(text: &str) -> Result<Self, UnknownOfOrphan> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownOfOrphan(text.to_owned()))
    }
}

/// The state of a machine that runs, in [`Holding::state`].
pub const RUNNING: &str = "running";
/// The state of a machine that is stopped.
pub const STOPPED: &str = "stopped";
/// The state of an image that machines can boot from.
pub const AVAILABLE: &str = "available";

/// Something in the cloud with this site's mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// What it is.
    pub kind: HoldingKind,
    /// The cloud's id of it.
    pub id: String,
    /// What it is called, by its tags: a machine and its disk as their instance, an image as it is registered.
    pub name: Option<String>,
    /// The launch token that it was made with.
    pub token: Option<String>,
    /// The number of the golden image that it is, was made of, or is the builder of.
    pub number: Option<ImageId>,
    /// Since when it is there, where the cloud says so.
    pub created_at: Option<Timestamp>,
    /// The type of a machine.
    pub machine_type: Option<MachineType>,
    /// GiB of disk: a machine's own disks together, a volume, a snapshot, an image.
    pub gib: Option<u32>,
    /// What it does, by the cloud's word.
    pub state: String,
    /// What has it: the machine of a disk or an address, the image of a snapshot.
    pub holder: Option<String>,
    /// The image that a machine stands on.
    pub image: Option<String>,
    /// The public IP of a machine or an address.
    pub public_ip: Option<IpAddr>,
}

impl Holding {
    /// A thing of which nothing is known but what and which it is, and what it does.
    pub fn new(kind: HoldingKind, id: impl Into<String>, state: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            name: None,
            token: None,
            number: None,
            created_at: None,
            machine_type: None,
            gib: None,
            state: state.into(),
            holder: None,
            image: None,
            public_ip: None,
        }
    }
}

/// What rows know of what is in the cloud.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The ids of machines that instances have, or had until just now.
    pub machines: HashSet<String>,
    /// The tokens of launches that are under way, or were until just now: what came of one is not known yet.
    pub launches: HashSet<String>,
    /// The tokens of launches that have brought a machine.
    pub launched: HashSet<String>,
    /// The ids of addresses that machines keep.
    pub addresses: HashSet<String>,
    /// The ids of images.
    pub images: HashSet<String>,
    /// The numbers of images whose bake is under way, or asked for.
    pub bakes: HashSet<ImageId>,
}

impl Known {
    /// Whether a row knows it by what is on it.
    pub fn knows(&self, holding: &Holding) -> bool {
        let of =
            |tokens: &HashSet<String>| holding.token.as_ref().is_some_and(|token| tokens.contains(token));
        let held_by = |ids: &HashSet<String>| holding.holder.as_ref().is_some_and(|id| ids.contains(id));
        if of(&self.launches) || holding.number.is_some_and(|number| self.bakes.contains(&number)) {
            return true;
        }
        match holding.kind {
            // Not by the token of a launch that has its machine: another machine of the same token is one too many.
            HoldingKind::Machine => self.machines.contains(&holding.id),
            HoldingKind::Image => self.images.contains(&holding.id),
            HoldingKind::Address => self.addresses.contains(&holding.id) || of(&self.launched),
            HoldingKind::Volume => held_by(&self.machines),
            HoldingKind::Snapshot => held_by(&self.images),
        }
    }
}

/// What of an inventory no row knows, in the order of the kinds. What goes with the thing that has it, as a disk does
/// with its machine and a snapshot with its image, is not told besides.
pub fn orphans<'a>(inventory: &'a [Holding], known: &Known, now: Timestamp) -> Vec<&'a Holding> {
    let listed = |kind: HoldingKind, id: &Option<String>| {
        id.as_ref().is_some_and(|id| inventory.iter().any(|other| other.kind == kind && other.id == *id))
    };
    let goes_along = |holding: &Holding| match holding.kind {
        HoldingKind::Volume => listed(HoldingKind::Machine, &holding.holder),
        HoldingKind::Snapshot => listed(HoldingKind::Image, &holding.holder),
        // An address outlives its machine.
        HoldingKind::Machine | HoldingKind::Image | HoldingKind::Address => false,
    };
    let young = |holding: &Holding| holding.created_at.is_some_and(|at| now < at.plus_seconds(YOUNG_SECONDS));
    let mut found: Vec<_> = inventory
        .iter()
        .filter(|holding| !known.knows(holding) && !goes_along(holding) && !young(holding))
        .collect();
    found.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    found
}

/// The number of an orphan's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrphanId(pub i64);

impl fmt::Display for OrphanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an admin wants done about an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanWish {
    /// A row is to know it from now on.
    Adopt,
    /// It is to go.
    Terminate,
}

impl OrphanWish {
    /// The wish in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Terminate => "terminate",
        }
    }
}

impl FromStr for OrphanWish {
    type Err = UnknownOfOrphan;

    fn from_str(text: &str) -> Result<Self, UnknownOfOrphan> {
        [Self::Adopt, Self::Terminate]
            .into_iter()
            .find(|wish| wish.name() == text)
            .ok_or_else(|| UnknownOfOrphan(text.to_owned()))
    }
}

/// Something in the cloud with this site's mark that no row knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The number of its row.
    pub row: OrphanId,
    /// What it is.
    pub holding: Holding,
    /// When it was seen first.
    pub found_at: Timestamp,
    /// When it was seen last.
    pub last_seen_at: Timestamp,
    /// What is to be done about it.
    pub wish: Option<OrphanWish>,
    /// Who asked for that.
    pub wished_by: Option<Username>,
    /// Why the last wish was not carried out, or not yet: a sentence.
    pub failure: Option<String>,
}

impl Orphan {
    /// Since when it is there, as far as that is known.
    pub fn since(&self) -> Timestamp {
        self.holding.created_at.unwrap_or(self.found_at)
    }

    /// Whether there are records that could take over things of its kind.
    pub fn can_be_adopted(&self) -> bool {
        matches!(self.holding.kind, HoldingKind::Machine | HoldingKind::Image)
    }
}

/// The instance that a machine's tag names, as far as it decides about adopting the machine.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    /// Where it is in its life.
    pub status: Status,
    /// What its owner wants of it.
    pub wanted: Wanted,
    /// Whether it has a machine, or one is being launched for it.
    pub has_machine: bool,
}

/// Whether the instance of its name can take over a machine, and what it is then. A machine that runs is deployed on
/// anew, by [`Status::Booting`]; one that is stopped stays [`Status::Stopped`], and is deployed on once it is started.
///
/// # Errors
/// A sentence that says why not.
pub fn adopt_machine(machine: &Holding, heir: Option<Heir>) -> Result<Status, String> {
    let id = &machine.id;
    if machine.number.is_some() {
        return Err(format!("The machine {id} was to make a golden image, so that no instance can have it."));
    }
    if id.parse::<InstanceId>().is_err() {
        return Err(format!("{id} is not the id of a machine that an instance can have."));
    }
    let name = machine.name.as_deref().and_then(|name| name.parse::<ServerName>().ok());
    let (Some(name), Some(heir)) = (&name, heir) else {
        return Err(match name {
            Some(name) => format!(
                "No instance is called {name}. A machine goes to the instance of its name: create that first, then adopt the machine before the new one is launched, or terminate it."
            ),
            None => format!("The machine {id} does not carry the name of an instance."),
        });
    };
    if heir.has_machine {
        return Err(format!(
            "The instance {name} has a machine already. Terminate that one first, or terminate this one."
        ));
    }
    if heir.status == Status::Terminating
        || (heir.wanted == Wanted::Absent && heir.status != Status::Terminated)
    {
        return Err(format!("The instance {name} is being terminated: try again once it is."));
    }
    if !matches!(heir.status, Status::Requested | Status::Failed | Status::Terminated) {
        return Err(format!("The instance {name} is {}: try again once nothing is under way.", heir.status));
    }
    match machine.state.as_str() {
        RUNNING => Ok(Status::Booting),
        STOPPED => Ok(Status::Stopped),
        state => Err(format!("The machine {id} is {state} just now: adopt it once it runs, or is stopped.")),
    }
}

/// The number under which an image can be adopted.
///
/// # Errors
/// A sentence that says why it cannot.
pub fn adopt_image(image: &Holding) -> Result<ImageId, String> {
    let id = &image.id;
    match image.number {
        None => Err(format!("The image {id} does not carry the number of a golden image.")),
        Some(_) if image.state != AVAILABLE => Err(format!(
            "The image {id} is not complete ({}), so that nothing can boot from it.",
            image.state
        )),
        Some(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000);

    fn holding(kind: HoldingKind, id: &str) -> Holding {
        Holding { created_at: Some(NOW.plus_seconds(-3600)), ..Holding::new(kind, id, RUNNING) }
    }

    fn set(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn found(inventory: &[Holding], known: &Known) -> Vec<String> {
        orphans(inventory, known, NOW).into_iter().map(|orphan| orphan.id.clone()).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_machine_is_known_by_its_id_or_by_a_launch_under_way() {
        use HoldingKind::Machine;
        let of = |id: &str, token: &str| Holding { token: some(token), ..holding(Machine, id) };
        let inventory =
            [of("i-1", "a"), of("i-2", "b"), of("i-3", "c"), of("i-4", "a"), holding(Machine, "i-5")];
        let known = Known {
            machines: set(&["i-1"]),
            launches: set(&["b"]),
            launched: set(&["a"]),
            ..Known::default()
        };
        // The fourth was launched by the token that has brought the first: it is one too many.
        assert_eq!(found(&inventory, &known), ["i-3", "i-4", "i-5"]);
        assert_eq!(found(&inventory, &Known::default()).len(), 5);
    }

    #[test]
    fn what_is_young_is_none_yet() {
        let aged = |seconds: i64| Holding {
            created_at: Some(NOW.plus_seconds(-seconds)),
            ..holding(HoldingKind::Machine, "i-1")
        };
        assert!(found(&[aged(YOUNG_SECONDS - 1)], &Known::default()).is_empty());
        assert_eq!(found(&[aged(YOUNG_SECONDS)], &Known::default()), ["i-1"]);
        // Of an address no cloud says how old it is.
        let address = Holding::new(HoldingKind::Address, "eipalloc-1", "idle");
        assert_eq!(found(&[address], &Known::default()), ["eipalloc-1"]);
    }

    #[test]
    fn an_address_is_known_by_its_id_or_by_the_token_of_its_machine() {
        let of = |id: &str, token: &str| Holding { token: some(token), ..holding(HoldingKind::Address, id) };
        let inventory = [of("eipalloc-1", "x"), of("eipalloc-2", "a"), of("eipalloc-3", "y")];
        let known = Known { addresses: set(&["eipalloc-1"]), launched: set(&["a"]), ..Known::default() };
        assert_eq!(found(&inventory, &known), ["eipalloc-3"]);
    }

    #[test]
    fn disks_go_with_their_machines_and_snapshots_with_their_images() {
        use HoldingKind::{Image, Machine, Snapshot, Volume};
        let held = |kind, id: &str, holder: &str| Holding { holder: some(holder), ..holding(kind, id) };
        let inventory = [
            held(Snapshot, "snap-1", "ami-1"),
            held(Snapshot, "snap-2", "ami-2"),
            holding(Snapshot, "snap-3"),
            held(Volume, "vol-1", "i-1"),
            held(Volume, "vol-2", "i-2"),
            held(Volume, "vol-3", "i-of-somebody-else"),
            holding(Volume, "vol-4"),
            Holding { token: some("a"), ..holding(Volume, "vol-5") },
            Holding { token: some("b"), ..holding(Volume, "vol-6") },
            holding(Machine, "i-1"),
            holding(Machine, "i-2"),
            holding(Image, "ami-1"),
            holding(Image, "ami-2"),
        ];
        let known = Known {
            machines: set(&["i-1"]),
            images: set(&["ami-1"]),
            launches: set(&["a"]),
            launched: set(&["b"]),
            ..Known::default()
        };
        // The disk that was taken off its machine is left over, whoever has the machine.
        assert_eq!(found(&inventory, &known), ["i-2", "ami-2", "vol-3", "vol-4", "vol-6", "snap-3"]);
    }

    #[test]
    fn what_a_bake_under_way_makes_is_none() {
        use HoldingKind::{Image, Machine, Snapshot, Volume};
        let of = |kind, id: &str, number| Holding { number: Some(ImageId(number)), ..holding(kind, id) };
        let inventory = [
            of(Machine, "i-1", 7),
            of(Volume, "vol-1", 7),
            of(Image, "ami-1", 7),
            of(Snapshot, "snap-1", 7),
            of(Machine, "i-2", 6),
            of(Image, "ami-2", 6),
        ];
        let known = Known { bakes: [ImageId(7)].into(), ..Known::default() };
        assert_eq!(found(&inventory, &known), ["i-2", "ami-2"]);
    }

    #[test]
    fn a_machine_goes_to_the_instance_of_its_name_that_has_none() {
        let machine = |state: &str| Holding {
            name: some("shop"),
            state: state.to_owned(),
            ..holding(HoldingKind::Machine, "i-0123456789abcdef0")
        };
        let heir = |status, wanted, has_machine| Some(Heir { status, wanted, has_machine });
        let free = heir(Status::Terminated, Wanted::Absent, false);
        assert_eq!(adopt_machine(&machine("running"), free), Ok(Status::Booting));
        assert_eq!(adopt_machine(&machine("stopped"), free), Ok(Status::Stopped));
        let failed = heir(Status::Failed, Wanted::Present, false);
        assert_eq!(adopt_machine(&machine("running"), failed), Ok(Status::Booting));
        let refusals = [
            (machine("pending"), free, "is pending just now"),
            (machine("running"), None, "No instance is called shop."),
            (machine("running"), heir(Status::Live, Wanted::Present, true), "has a machine already"),
            (machine("running"), heir(Status::Launching, Wanted::Present, true), "has a machine already"),
            (machine("running"), heir(Status::Failed, Wanted::Absent, false), "is being terminated"),
            (machine("running"), heir(Status::Launching, Wanted::Present, false), "is launching"),
            (Holding { name: None, ..machine("running") }, free, "does not carry the name"),
            (Holding { name: some("Not a name"), ..machine("running") }, free, "does not carry the name"),
            (Holding { id: "mi-1".to_owned(), ..machine("running") }, free, "is not the id of a machine"),
            (Holding { number: Some(ImageId(1)), ..machine("running") }, free, "to make a golden image"),
        ];
        for (machine, heir, why) in refusals {
            let refusal = adopt_machine(&machine, heir).unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
    }

    #[test]
    fn an_image_that_is_complete_and_has_a_number_can_be_adopted() {
        let mut image = Holding::new(HoldingKind::Image, "ami-1", AVAILABLE);
        assert!(adopt_image(&image).unwrap_err().contains("does not carry the number"));
        image.number = Some(ImageId(4));
        assert_eq!(adopt_image(&image), Ok(ImageId(4)));
        image.state = "pending".to_owned();
        assert!(adopt_image(&image).unwrap_err().contains("not complete (pending)"));
    }

    #[test]
    fn kinds_and_wishes_read_back() {
        for kind in HoldingKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
        }
        for wish in [OrphanWish::Adopt, OrphanWish::Terminate] {
            assert_eq!(wish.name().parse(), Ok(wish));
        }
        assert!("disk".parse::<HoldingKind>().is_err() && "".parse::<OrphanWish>().is_err());
    }
}
