//! The table of pages.

use std::collections::BTreeSet;

use crate::{
    routes::{Gives, ROUTES},
    world::{
        As::{self, *},
        Of::{self, *},
    },
};

/// What is done on a page before it is the one that is meant.
#[derive(Debug)]
pub enum Do {
    /// Types into the field of this name, in the place of what is there.
    Type(&'static str, &'static str),
    /// Sends the form that posts to this path, whatever the browser would say of its fields.
    Send(&'static str),
}
use Do::{Send, Type};

/// A page as somebody sees it.
#[derive(Debug)]
pub struct Page {
    pub of: Of,
    pub seen_by: As,
    pub path: &'static str,
    /// What is done there first.
    pub does: &'static [Do],
    pub status: u16,
    /// Words in its content.
    pub says: &'static str,
    /// Whether it changes by itself: where no script does that, it reloads itself.
    pub moves: bool,
}

const fn page(of: Of, seen_by: As, path: &'static str, says: &'static str) -> Page {
    Page { of, seen_by, path, does: &[], status: 200, says, moves: false }
}

/// The same of a page that changes by itself.
const fn moving(of: Of, seen_by: As, path: &'static str, says: &'static str) -> Page {
    Page { of, seen_by, path, does: &[], status: 200, says, moves: true }
}

const fn after(
    of: Of,
    seen_by: As,
    path: &'static str,
    does: &'static [Do],
    status: u16,
    says: &'static str,
) -> Page {
    Page { of, seen_by, path, does, status, says, moves: false }
}

/// Every page in every state that looks different: whoever adds a page adds its lines. The states are
/// instances of `world.rs`. That no page of the site is missing is tested by the sweep.
pub const PAGES: &[Page] = &[
    page(Busy, Visitor, "/login", "Sign in"),
    page(Fresh, Visitor, "/login", "The site printed a link"),
    after(
        Busy,
        Visitor,
        "/login?next=/instances/live",
        &[Type("username", "mira"), Type("password", "a wrong one"), Send("/login")],
        422,
        "do not belong together",
    ),
    page(Fresh, Visitor, "/setup", "Create the first admin"),
    after(
        Fresh,
        Visitor,
        "/setup",
        &[Type("username", "Two Words"), Type("password", "short"), Send("/setup")],
        422,
        "Create the first admin",
    ),
    after(Busy, Visitor, "/setup", &[], 404, "This set-up link does not work"),
    moving(Busy, Mira, "/instances", "instances,"),
    moving(Busy, Root, "/instances", "Owner"),
    page(Busy, Root, "/instances?whose=mine", "No instances yet"),
    page(Busy, Aiko, "/instances", "No instances yet"),
    moving(Young, Mira, "/instances", "The golden image is being baked"),
    page(Young, Aiko, "/instances", "No instances yet"),
    page(Busy, Aiko, "/instances/new", "Two inputs are enough"),
    page(Busy, Aiko, "/instances/new?sample=guestbook", "Two inputs are enough"),
    page(Busy, Mira, "/instances/new?again=live", "Two inputs are enough"),
    after(
        Busy,
        Aiko,
        "/instances/new",
        &[
            Type(
                "github_url",
                "https://example.com/a-very-long-name-of-an-organization/and-of-a-repository-too",
            ),
            Type("project_name", "two words"),
            Type("name", "LIVE"),
            Type("branch", "a..b"),
            Send("/instances/new"),
        ],
        422,
        "4 fields need a change",
    ),
    after(
        Busy,
        Aiko,
        "/instances/new",
        &[
            Type("github_url", "https://github.com/example/bookshop"),
            Type("project_name", "shop"),
            Send("/instances/new"),
        ],
        422,
        "did you mean",
    ),
    after(
        Busy,
        Mira,
        "/instances/new",
        &[
            Type("github_url", "https://github.com/example/another"),
            Type("project_name", "backend"),
            Type("name", "live"),
            Send("/instances/new"),
        ],
        422,
        "has another project on it",
    ),
    moving(Busy, Mira, "/instances/requested", "Waiting for its turn"),
    moving(Young, Mira, "/instances/waits", "Waiting for the golden image"),
    moving(Busy, Mira, "/instances/launching", "Launching a machine"),
    moving(Busy, Mira, "/instances/booting", "The machine has not reported yet"),
    moving(Busy, Mira, "/instances/deploying", "Installing <Django>"),
    page(Busy, Mira, "/instances/live", "Your project is live at"),
    page(Busy, Root, "/instances/live", "Your project is live at"),
    page(Busy, Mira, "/instances/a-name-that-is-as-long-as-a-name-can-be0", "Your project is live at"),
    page(Busy, Mira, "/instances/noticed", "security group?"),
    moving(Busy, Mira, "/instances/queued", "waits for its turn"),
    page(Busy, Mira, "/instances/failed-since", "goes on serving"),
    page(Busy, Mira, "/instances/failed-since?deployment=2", "stopped at step"),
    page(Busy, Mira, "/instances/live?deployment=1", "Deployment 1"),
    moving(Busy, Mira, "/instances/deploying?deployment=1", "Deployment 1"),
    page(Busy, Mira, "/instances/failed-known", "What usually helps"),
    page(Busy, Mira, "/instances/failed-unknown", "We do not know this failure"),
    page(Busy, Mira, "/instances/never-reported", "has not reported for 10 minutes"),
    moving(Busy, Mira, "/instances/stopping", "is being stopped"),
    page(Busy, Mira, "/instances/stopped", "does not answer"),
    moving(Busy, Mira, "/instances/starting", "is being started"),
    moving(Busy, Mira, "/instances/leaving", "It is about to be terminated"),
    moving(Busy, Mira, "/instances/terminating", "are being removed"),
    page(Busy, Mira, "/instances/terminated", "The machine is gone"),
    after(Gone, Mira, "/instances/live", &[Send("/instances/live/redeploy")], 422, "Nothing was deployed"),
    page(Busy, Mira, "/instances/live/terminate", "Terminate live?"),
    after(
        Busy,
        Mira,
        "/instances/live/terminate",
        &[Type("confirm", "another"), Send("/instances/live/terminate")],
        422,
        "This is not its name",
    ),
    after(Busy, Mira, "/instances/nosuch", &[], 404, "There is no such page"),
    after(Busy, Visitor, "/nosuch", &[], 404, "There is no such page"),
    after(
        Busy,
        Mira,
        "/instances/new",
        &[Type("csrf_token", "x"), Send("/instances/new")],
        403,
        "This form is too old",
    ),
    after(Broken, Visitor, "/login", &[], 500, "Something went wrong on our side"),
];

/// Whether a page is of this route.
fn is_of(path: &str, route: &str) -> bool {
    let path = path.split('?').next().unwrap();
    let (have, want): (Vec<_>, Vec<_>) = (path.split('/').collect(), route.split('/').collect());
    have.len() == want.len()
        && have.iter().zip(&want).all(|(have, want)| want.starts_with('{') || have == want)
}

#[test]
fn every_page_of_the_site_is_in_the_table() {
    for route in ROUTES.iter().filter(|route| route.gives == Gives::Page) {
        // A page whose name stands where another's parameter does is not that other one.
        let exact = |path: &str| ROUTES.iter().any(|other| other.path == path.split('?').next().unwrap());
        let has = PAGES.iter().any(|page| {
            page.status == 200
                && is_of(page.path, route.path)
                && (!exact(page.path) || page.path.split('?').next().unwrap() == route.path)
        });
        assert!(has, "add a line for {} to PAGES in tests/browser/pages.rs", route.path);
    }
    let mut seen = BTreeSet::new();
    for page in PAGES {
        assert!(seen.insert(format!("{page:?}")), "twice: {page:?}");
    }
}
