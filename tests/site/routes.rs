//! Every route of the site, one line each. Whoever adds a route adds its line here, and a line to
//! [`PARAMS`] where its path has a parameter of a new kind: hostile input and the sweep of pages then
//! cover it. That none is missing is tested.

/// Who gets an answer at a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    Anyone,
    /// Whoever has the set-up link, while there is no user.
    FirstAdmin,
    /// Whoever has a password link that was not used.
    WithLink,
    /// Whoever is signed in; of an instance, its owner and admins.
    SignedIn,
    /// Admins.
    Admin,
    /// A machine with the token of its deployment or fetch, on the listener for machines.
    Machine,
}

/// What a route answers when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// A page: the sweep in a browser must have it.
    Page,
    /// Something for programs: JSON, events, text, a file, a redirect.
    Data,
    /// What follows a form: a redirect, or the page with what to change.
    Form,
}

/// What a field takes besides its good value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: anything hostile is told on the field, with what was typed.
    Nothing,
    /// Nothing, or being left empty.
    Empty,
    /// Much that is odd and yet legal, as in a branch's name; wherever it is shown, it is text.
    Text,
    /// One line of text, of at most 200 characters that can be seen or joined.
    Line,
    /// One of those that the page offers: what is none of them is told, and not kept.
    Choice,
    /// Anything: what it does not know is as if it were not there.
    Anything,
    /// A secret: it is never shown again, whatever it is.
    Secret,
}

/// A field of a form: its name, a good value, what else it takes. A good value that changes
/// is [`KNOWN`].
pub type Field = (&'static str, &'static str, Takes);

/// Stands for what whoever fills in the form knows: a password that changes, what is in a hidden field.
pub const KNOWN: &str = "what is known";

/// A route of the site.
#[derive(Debug)]
pub struct Route {
    pub method: &'static str,
    /// As it stands in the source.
    pub path: &'static str,
    pub who: Who,
    pub gives: Gives,
    /// The names that it reads in the query.
    pub query: &'static [&'static str],
    pub fields: &'static [Field],
}

const fn get(path: &'static str, who: Who, gives: Gives, query: &'static [&'static str]) -> Route {
    Route { method: "GET", path, who, gives, query, fields: &[] }
}

const fn page(path: &'static str, who: Who, query: &'static [&'static str]) -> Route {
    get(path, who, Gives::Page, query)
}

const fn data(path: &'static str, who: Who, query: &'static [&'static str]) -> Route {
    get(path, who, Gives::Data, query)
}

const fn form(path: &'static str, who: Who, fields: &'static [Field]) -> Route {
    Route { method: "POST", path, who, gives: Gives::Form, query: &[], fields }
}

/// What a machine sends.
const fn sent(method: &'static str, path: &'static str) -> Route {
    Route { method, path, who: Machine, gives: Gives::Data, query: &[], fields: &[] }
}

use Takes::{Anything, Choice, Empty, Line, Nothing, Secret, Text};
use Who::{Admin, Anyone, FirstAdmin, Machine, SignedIn, WithLink};

pub const ROUTES: &[Route] = &[
    data("/", Anyone, &[]),
    data("/healthz", Anyone, &[]),
    data("/favicon.ico", Anyone, &[]),
    data("/static/{name}", Anyone, &["v"]),
    page("/login", Anyone, &["next"]),
    form("/login", Anyone, &[("username", "mira", Nothing), ("password", "a wrong one", Secret)]),
    form("/logout", SignedIn, &[]),
    page("/setup", FirstAdmin, &["token"]),
    form("/setup", FirstAdmin, &[("username", "root-of-all", Nothing), ("password", "short", Secret)]),
    page("/password", WithLink, &["token"]),
    form("/password", WithLink, &[("token", KNOWN, Secret), ("password", "short", Secret)]),
    page("/account", SignedIn, &["done"]),
    form("/account/password", SignedIn, &[("new_password", "short", Secret), ("password", KNOWN, Secret)]),
    form("/account/sessions/others", SignedIn, &[]),
    form("/account/sessions/all", SignedIn, &[]),
    page("/users", Admin, &[]),
    form("/users", Admin, &[("username", "tove", Nothing), ("role", "owner", Choice)]),
    form("/users/{username}/role", Admin, &[("role", "owner", Choice)]),
    form("/users/{username}/disable", Admin, &[]),
    form("/users/{username}/enable", Admin, &[]),
    form("/users/{username}/password", Admin, &[]),
    page("/images", Admin, &[]),
    form("/images", Admin, &[]),
    data("/images/events", Admin, &["seen", "bake", "from"]),
    page("/images/{id}/log", Admin, &[]),
    data("/images/{id}/log.txt", Admin, &[]),
    form("/images/{id}/delete", Admin, &[]),
    page("/cloud", Admin, &[]),
    data("/cloud/events", Admin, &["seen"]),
    form("/cloud/orphans/look", Admin, &[]),
    page("/cloud/orphans/{id}/adopt", Admin, &[]),
    form("/cloud/orphans/{id}/adopt", Admin, &[]),
    page("/cloud/orphans/{id}/terminate", Admin, &[]),
    form("/cloud/orphans/{id}/terminate", Admin, &[("confirm", "img-9-0f3c9a41", Nothing)]),
    page("/instances", SignedIn, &["whose"]),
    data("/events", SignedIn, &["whose"]),
    page("/instances/new", SignedIn, &["sample", "again"]),
    form(
        "/instances/new",
        SignedIn,
        &[
            ("github_url", "https://github.com/example/bookshop", Nothing),
            ("project_name", "backend", Nothing),
            ("name", "shop1", Empty),
            ("branch", "main", Text),
            ("description", "Books", Line),
            ("machine_type", "t3.small", Anything),
            ("database", "sqlite", Anything),
            ("first_admin", "mira", Text),
            ("env.TOKEN", "abc", Secret),
            ("kept.TOKEN", "", Secret),
            ("empty.TOKEN", "yes", Anything),
            ("replace", "yes", Anything),
        ],
    ),
    page("/instances/{name}", SignedIn, &[]),
    data("/instances/{name}/info", SignedIn, &[]),
    data("/instances/{name}/log", SignedIn, &["deployment"]),
    data("/instances/{name}/events", SignedIn, &["kind", "number", "from", "seen"]),
    page("/instances/{name}/edit", SignedIn, &[]),
    form(
        "/instances/{name}/edit",
        SignedIn,
        &[
            ("github_url", "https://github.com/example/bookshop", Nothing),
            ("project_name", "backend", Nothing),
            ("name", "shop1", Anything),
            ("branch", "main", Text),
            ("description", "Books", Line),
            ("machine_type", "t3.small", Anything),
            ("database", "sqlite", Anything),
            ("env.TOKEN", "abc", Secret),
            ("kept.TOKEN", "", Secret),
            ("empty.TOKEN", "yes", Anything),
            ("replace", "yes", Anything),
            ("version", KNOWN, Anything),
        ],
    ),
    form("/instances/{name}/redeploy", SignedIn, &[]),
    page("/instances/{name}/environment", SignedIn, &["done", "variable"]),
    form(
        "/instances/{name}/environment",
        SignedIn,
        &[("variable", "EMAIL_HOST", Nothing), ("value", "mail.example.com", Secret), ("kept", "", Secret)],
    ),
    form(
        "/instances/{name}/environment/paste",
        SignedIn,
        &[("dotenv", "EMAIL_HOST=mail.example.com", Secret)],
    ),
    form("/instances/{name}/environment/secret-key", SignedIn, &[]),
    form("/instances/{name}/environment/{variable}/remove", SignedIn, &[]),
    form("/instances/{name}/admin", SignedIn, &[("username", "mira", Text)]),
    form("/instances/{name}/admin/password", SignedIn, &[]),
    page("/instances/{name}/stop", SignedIn, &[]),
    form("/instances/{name}/stop", SignedIn, &[]),
    form("/instances/{name}/start", SignedIn, &[]),
    form("/instances/{name}/reboot", SignedIn, &[]),
    page("/instances/{name}/terminate", SignedIn, &[]),
    form("/instances/{name}/terminate", SignedIn, &[("confirm", "shop1", Nothing)]),
    page("/instances/{name}/deployments", SignedIn, &["before"]),
    page("/instances/{name}/deployments/{number}", SignedIn, &[]),
    page("/instances/{name}/logs", SignedIn, &[]),
    form("/instances/{name}/logs", SignedIn, &[]),
    data("/instances/{name}/logs.txt", SignedIn, &[]),
    data("/instances/{name}/logs/events", SignedIn, &["seen"]),
    page("/instances/{name}/data", SignedIn, &[]),
    data("/instances/{name}/data/{kind}", SignedIn, &[]),
    form("/instances/{name}/data/{kind}", SignedIn, &[]),
    data("/instances/{name}/data/events", SignedIn, &["seen"]),
    page("/instances/{name}/commands", SignedIn, &["run"]),
    form("/instances/{name}/commands", SignedIn, &[("command", "check", Nothing)]),
    data("/instances/{name}/commands.txt", SignedIn, &["run"]),
    data("/instances/{name}/commands/events", SignedIn, &["seen", "run"]),
    sent("PATCH", "/deployments/{id}/log"),
    data("/deployments/{id}/environment", Machine, &[]),
    data("/deployments/{id}/first-admin", Machine, &[]),
    data("/deployments/{id}/programs", Machine, &[]),
    data("/deployments/{id}/requirements", Machine, &[]),
    sent("PUT", "/fetches/{id}"),
    sent("POST", "/fetches/{id}/failed"),
];

/// A good value of each parameter, by the beginning of the path it is in.
const PARAMS: [(&str, &str, &str); 10] = [
    ("/static/", "name", "site.css"),
    ("/instances/", "name", "shop1"),
    ("/instances/", "number", "1"),
    ("/instances/", "kind", "database"),
    ("/instances/", "variable", "EMAIL_HOST"),
    ("/images/", "id", "1"),
    ("/cloud/orphans/", "id", "1"),
    ("/users/", "username", "lena"),
    ("/deployments/", "id", "1"),
    ("/fetches/", "id", "1"),
];

impl Route {
    /// The parameters in its path.
    pub fn params(&self) -> Vec<&'static str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// Its path with `value`, as it is to stand there, for the parameter `name` and good values for the others.
    pub fn at(&self, name: &str, value: &str) -> String {
        let part = |part: &'static str| {
            let Some(param) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else {
                return part;
            };
            let good = PARAMS.iter().find(|(path, of, _)| self.path.starts_with(path) && *of == param);
            good.unwrap_or_else(|| panic!("PARAMS has no {{{param}}} of {}", self.path)).2
        };
        let parts = self.path.split('/').map(|text| {
            if text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) == Some(name) {
                value.to_owned()
            } else {
                part(text).to_owned()
            }
        });
        parts.collect::<Vec<_>>().join("/")
    }

    /// Its path with good values.
    pub fn good(&self) -> String {
        self.at("", "")
    }
}
