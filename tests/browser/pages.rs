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
    /// Types into the field of this name, in the place of what is there; `{n}` is a number that is never the same.
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
    page(Busy, Mira, "/instances/failed-known", "What usually helps"),
    page(Busy, Mira, "/instances/failed-unknown", "We do not know this failure"),
    page(Busy, Mira, "/instances/never-reported", "has not reported for 10 minutes"),
    moving(Busy, Mira, "/instances/to-stop", "It is about to be stopped"),
    moving(Busy, Mira, "/instances/stopping", "is being stopped"),
    page(Busy, Mira, "/instances/stopped", "does not answer"),
    page(Busy, Mira, "/instances/stopped-failed", "Start"),
    page(Busy, Mira, "/instances/stopped-queued", "waits until the machine is started"),
    moving(Busy, Mira, "/instances/to-start", "It is about to be started"),
    moving(Busy, Mira, "/instances/starting", "is being started"),
    page(Busy, Mira, "/instances/live/stop", "Stop live?"),
    page(Busy, Mira, "/instances/failed-known/stop", "Stop failed-known?"),
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
    page(Busy, Mira, "/instances/live/environment", "made by the machine, kept between deployments"),
    page(Busy, Mira, "/instances/live/environment?done=saved&variable=EMAIL_HOST", "It is saved"),
    page(Busy, Mira, "/instances/terminated/environment", "made by the machine"),
    page(Young, Mira, "/instances/waits/environment", "2 changes go with deployment 1"),
    moving(Young, Mira, "/instances/waits", "First admin: mira"),
    after(
        Busy,
        Mira,
        "/instances/live/environment",
        &[Type("variable", "1 BAD"), Type("value", "a secret value"), Send("/instances/live/environment")],
        422,
        "The value that you typed is kept",
    ),
    after(
        Busy,
        Mira,
        "/instances/live/environment",
        &[Type("dotenv", "PATH=/bin\nnonsense"), Send("/instances/live/environment/paste")],
        422,
        "Nothing was saved",
    ),
    after(
        Young,
        Aiko,
        "/instances/new",
        &[
            Type("github_url", "https://github.com/example/bookshop"),
            Type("project_name", "backend"),
            Send("/instances/new"),
        ],
        422,
        "The settings ask for 2 variables",
    ),
    page(Busy, Mira, "/instances/live/edit", "Another description alone deploys nothing"),
    page(Busy, Mira, "/instances/a-name-that-is-as-long-as-a-name-can-be0/edit", "the name stays"),
    page(Busy, Mira, "/instances/stopped/edit", "It is stopped, or about to be"),
    page(Busy, Mira, "/instances/deploying/edit", "Something is under way"),
    page(Busy, Mira, "/instances/terminated/edit", "A new machine is launched"),
    after(Busy, Mira, "/instances/leaving/edit", &[], 409, "It is being terminated"),
    after(
        Busy,
        Mira,
        "/instances/live/edit",
        &[
            Type("github_url", "http://169.254.169.254/latest/meta-data"),
            Type("project_name", "two words"),
            Type("branch", "a..b"),
            Send("/instances/live/edit"),
        ],
        422,
        "3 fields need a change",
    ),
    after(
        Busy,
        Mira,
        "/instances/live/edit",
        &[Type("project_name", "shop"), Send("/instances/live/edit")],
        422,
        "did you mean",
    ),
    after(
        Busy,
        Mira,
        "/instances/live/edit",
        &[Type("version", "0"), Type("description", "Another"), Send("/instances/live/edit")],
        422,
        "was changed since this form was shown",
    ),
    after(
        Busy,
        Mira,
        "/instances/live/edit",
        &[Type("github_url", "https://github.com/example/another"), Send("/instances/live/edit")],
        422,
        "has another project on it",
    ),
    page(Busy, Mira, "/instances/live/deployments", "The newest first"),
    page(Busy, Mira, "/instances/often/deployments", "Older"),
    page(Busy, Mira, "/instances/often/deployments?before=4", "Newest"),
    page(Busy, Mira, "/instances/often/deployments?before=1", "There are no older ones"),
    page(Busy, Mira, "/instances/live/deployments/1", "Whole log"),
    page(Busy, Mira, "/instances/deploying/deployments/1", "It has not ended"),
    page(Busy, Mira, "/instances/queued/deployments/2", "Nothing was logged"),
    page(Busy, Mira, "/instances/failed-known/deployments/1", "What usually helps"),
    page(Busy, Mira, "/instances/failed-since/deployments/2", "What usually helps"),
    page(Busy, Mira, "/instances/terminated/deployments/1", "Whole log"),
    moving(Busy, Mira, "/instances/live/logs", "The log is being fetched"),
    moving(Busy, Mira, "/instances/logged-anew/logs", "Below is the one that was fetched"),
    page(Busy, Mira, "/instances/logged/logs", "ModuleNotFoundError"),
    page(Busy, Mira, "/instances/logged-well/logs", "No line of these tells of an error"),
    page(Busy, Mira, "/instances/unlogged/logs", "The log did not come"),
    page(Busy, Mira, "/instances/stopped/logs", "The machine is stopped"),
    page(Busy, Mira, "/instances/requested/logs", "There is no machine yet"),
    page(Busy, Mira, "/instances/live/data", "Prepare the database"),
    moving(Busy, Mira, "/instances/logged-anew/data", "It is coming: 12.3 MB so far"),
    page(Busy, Mira, "/instances/logged/data", "It is kept for an hour after that"),
    moving(Busy, Mira, "/instances/logged-well/data", "The machine is being asked"),
    page(Busy, Mira, "/instances/terminated/data", "one that is ready stays here"),
    page(Busy, Mira, "/instances/live/commands", "No command was run yet"),
    page(Busy, Mira, "/instances/logged/commands", "exit 3"),
    page(Busy, Mira, "/instances/logged-well/commands", "busy with a deployment"),
    moving(Busy, Mira, "/instances/logged-anew/commands", "comes here when it ends"),
    page(Busy, Mira, "/instances/stopped/commands", "The machine is stopped"),
    after(
        Busy,
        Mira,
        "/instances/live/commands",
        &[Type("command", "runserver"), Send("/instances/live/commands")],
        422,
        "never ends",
    ),
    after(Busy, Mira, "/instances/live/data/media", &[], 404, "There is nothing to download here"),
    page(Busy, Root, "/images", "good, newest"),
    moving(Young, Root, "/images", "Baking now"),
    moving(Gone, Root, "/images", "It begins as soon as the site has looked at the cloud"),
    moving(Old, Root, "/images", "The golden image is 5 weeks old"),
    page(Old, Root, "/instances", "The golden image is 5 weeks old"),
    page(Old, Root, "/images/1/log", "Bake 1"),
    page(Old, Root, "/images/2/log", "failed after"),
    page(Old, Root, "/images/3/log", "The bake ended before anything was written"),
    page(Empty, Root, "/images", "There is none yet"),
    page(Unready, Root, "/images", "mmdebstrap is not installed"),
    moving(Unready, Mira, "/instances", "No machines can be launched now"),
    page(Unready, Aiko, "/instances", "No machines can be launched now"),
    moving(Unready, Root, "/instances", "This site is served over http"),
    page(Unready, Mira, "/instances/new", "No machines can be launched now"),
    moving(Unready, Mira, "/instances/waits", "It goes on by itself once this is cured"),
    after(Busy, Mira, "/images", &[], 404, "There is no such page"),
    page(Busy, Root, "/cloud", "whose they are"),
    page(Empty, Root, "/cloud", "There are none now"),
    page(Empty, Root, "/cloud", "Nobody has looked yet"),
    page(Busy, Root, "/cloud", "no record knows them"),
    moving(Busy, Root, "/instances", "in the cloud that no record knows"),
    moving(Old, Root, "/cloud", "terminating"),
    page(Busy, Root, "/cloud/orphans/1/adopt", "which has no machine, gets this one"),
    page(Busy, Root, "/cloud/orphans/2/adopt", "It cannot be adopted now"),
    page(Busy, Root, "/cloud/orphans/1/terminate", "Terminate this machine?"),
    after(
        Busy,
        Root,
        "/cloud/orphans/2/terminate",
        &[Type("confirm", "eipalloc-of-another"), Send("/cloud/orphans/2/terminate")],
        422,
        "This is not its id",
    ),
    page(Busy, Root, "/users", "Add a user"),
    page(Empty, Root, "/users", "Add a user"),
    after(Busy, Root, "/users", &[Type("username", "Two Words"), Send("/users")], 422, "Small letters"),
    after(Busy, Root, "/users", &[Type("username", "mira"), Send("/users")], 422, "has this name already"),
    after(Busy, Root, "/users", &[Type("username", "new-{n}"), Send("/users")], 200, "was added"),
    after(Busy, Root, "/users", &[Send("/users/lena/password")], 200, "It is shown only now"),
    page(Busy, Mira, "/account", "Signed in on 4 browsers"),
    page(Busy, Aiko, "/account", "Signed in on 1 browser"),
    page(Busy, Aiko, "/account?done=password", "Your password was changed"),
    after(
        Busy,
        Aiko,
        "/account",
        &[Type("password", "a wrong one"), Type("new_password", "short"), Send("/account/password")],
        422,
        "This is not your password",
    ),
    page(Busy, Visitor, "/password", "Set your password"),
    after(
        Busy,
        Visitor,
        "/password",
        &[Type("password", "short"), Send("/password")],
        422,
        "At least 12 characters",
    ),
    after(Busy, Visitor, "/password?token=spent", &[], 404, "This password link does not work"),
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
