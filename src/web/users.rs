//! The people who can sign in, for admins: add, role, disable, a new password link.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use crate::{
    domain::{Role, Timestamp, User, UserId, Username},
    store::{Person, PersonError, UserError},
    web::{
        Site,
        auth::{Admin, CheckedForm, Issued, LASTS_DAYS, NoFields, Visit, issue},
        error::WebError,
        format::{ago, field_error},
        page::{Section, Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new()
        .route("/users", get(show).post(add))
        .route("/users/{username}/role", post(set_role))
        .route("/users/{username}/disable", post(disable))
        .route("/users/{username}/enable", post(enable))
        .route("/users/{username}/password", post(new_link))
}

#[derive(Default, Deserialize)]
struct AddForm {
    #[serde(default)]
    username: String,
    #[serde(default)]
    role: String,
}

#[derive(Deserialize)]
struct RoleForm {
    #[serde(default)]
    role: String,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    shell: Shell,
    me: UserId,
    people: Vec<Person>,
    typed: AddForm,
    username_error: Option<String>,
    role_error: Option<String>,
    refused: Option<String>,
    days: i64,
}

impl UsersPage {
    async fn of(visit: &Visit) -> Result<Self, WebError> {
        let mut shell = Shell::new(visit, "Users", "The people who can sign in.").await?;
        shell.section = Section::Users;
        Ok(Self {
            shell,
            me: visit.user.id,
            people: visit.site.store.people().await?,
            typed: AddForm { role: Role::Owner.name().to_owned(), ..AddForm::default() },
            username_error: None,
            role_error: None,
            refused: None,
            days: LASTS_DAYS,
        })
    }

    fn is_me(&self, user: &User) -> bool {
        user.id == self.me
    }

    fn ago(&self, time: &Timestamp) -> String {
        ago(*time)
    }
}

#[derive(Template)]
#[template(path = "password_link.html")]
struct LinkPage {
    shell: Shell,
    username: Username,
    is_new: bool,
    url: String,
    until: String,
    days: i64,
}

async fn show(Admin(visit): Admin) -> Result<Response, WebError> {
    page(StatusCode::OK, &UsersPage::of(&visit).await?)
}

async fn add(Admin(visit): Admin, CheckedForm(typed): CheckedForm<AddForm>) -> Result<Response, WebError> {
    let (username, role) = (typed.username.trim().parse::<Username>(), typed.role.parse::<Role>());
    let (username, role) = match (username, role) {
        (Ok(username), Ok(role)) => (username, role),
        (username, role) => {
            let username = username.err().map(|error| field_error(&error, "username"));
            let role = role.err().map(|_| "Choose one of the two.".to_owned());
            return again(&visit, typed, username, role).await;
        }
    };
    let link = issue(&visit.site);
    match visit.site.store.invite(&username, role, &link.kept).await {
        Ok(_) => {}
        Err(UserError::Taken | UserError::AlreadySetUp) => {
            return again(&visit, typed, Some("Somebody has this name already.".to_owned()), None).await;
        }
        Err(UserError::Store(error)) => return Err(error.into()),
    }
    tracing::info!(user = %username, role = role.name(), by = %visit.user.username, "a user was added");
    show_link(&visit, username, link, true).await
}

async fn set_role(
    Admin(visit): Admin,
    Path(name): Path<String>,
    CheckedForm(typed): CheckedForm<RoleForm>,
) -> Result<Response, WebError> {
    let user = named(&name)?;
    let Ok(role) = typed.role.parse::<Role>() else {
        let why = format!("The role of {user} was left as it is: owner and admin are the roles.");
        return refuse(&visit, StatusCode::UNPROCESSABLE_ENTITY, why).await;
    };
    if user == visit.user.username {
        return refuse_own(&visit).await;
    }
    let done = visit.site.store.set_role(&user, role).await;
    if matches!(done, Ok(true)) {
        tracing::info!(%user, role = role.name(), by = %visit.user.username, "a user has another role");
    }
    answer(&visit, &user, done.map(drop)).await
}

async fn disable(
    Admin(visit): Admin,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let user = named(&name)?;
    if user == visit.user.username {
        return refuse_own(&visit).await;
    }
    let done = visit.site.store.disable(&user).await;
    if matches!(done, Ok(true)) {
        tracing::info!(%user, by = %visit.user.username, "a user was disabled");
    }
    answer(&visit, &user, done.map(drop)).await
}

async fn enable(
    Admin(visit): Admin,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let user = named(&name)?;
    let done = visit.site.store.enable(&user).await;
    if matches!(done, Ok(true)) {
        tracing::info!(%user, by = %visit.user.username, "a user was enabled");
    }
    answer(&visit, &user, done.map(drop)).await
}

async fn new_link(
    Admin(visit): Admin,
    Path(name): Path<String>,
    _form: CheckedForm<NoFields>,
) -> Result<Response, WebError> {
    let user = named(&name)?;
    let link = issue(&visit.site);
    if let Err(error) = visit.site.store.make_password_link(&user, &link.kept).await {
        return answer(&visit, &user, Err(error)).await;
    }
    tracing::info!(%user, by = %visit.user.username, "a password link was made");
    show_link(&visit, user, link, false).await
}

/// The person of a path. No name that is none is anybody's.
fn named(name: &str) -> Result<Username, WebError> {
    name.parse().map_err(|_| WebError::NotFound)
}

/// Back to the table, or why nothing was changed.
async fn answer(visit: &Visit, user: &Username, done: Result<(), PersonError>) -> Result<Response, WebError> {
    let why = match done {
        Ok(()) => return Ok(Redirect::to("/users").into_response()),
        Err(PersonError::Nobody) => return Err(WebError::NotFound),
        Err(PersonError::Store(error)) => return Err(error.into()),
        Err(PersonError::LastAdmin) => {
            format!(
                "{user} is the last admin who can sign in, and stays one. Make somebody else an admin first."
            )
        }
        Err(PersonError::Disabled) => {
            format!("{user} is disabled, so that a password would be of no use. Enable them first.")
        }
    };
    refuse(visit, StatusCode::CONFLICT, why).await
}

/// One's own role and account are another admin's business: nobody locks themselves out by a slip.
async fn refuse_own(visit: &Visit) -> Result<Response, WebError> {
    let why = "This is your own account. Only another admin can disable it or change its role.";
    refuse(visit, StatusCode::CONFLICT, why.to_owned()).await
}

async fn refuse(visit: &Visit, status: StatusCode, why: String) -> Result<Response, WebError> {
    page(status, &UsersPage { refused: Some(why), ..UsersPage::of(visit).await? })
}

/// The form once more, with what was typed and what is wrong with it.
async fn again(
    visit: &Visit,
    typed: AddForm,
    username_error: Option<String>,
    role_error: Option<String>,
) -> Result<Response, WebError> {
    let users = UsersPage { typed, username_error, role_error, ..UsersPage::of(visit).await? };
    page(StatusCode::UNPROCESSABLE_ENTITY, &users)
}

/// The one page that has the link. It answers the form itself, so that no address and no log holds the secret.
async fn show_link(
    visit: &Visit,
    username: Username,
    link: Issued,
    is_new: bool,
) -> Result<Response, WebError> {
    let title = format!("Password link for {username}");
    let mut shell = Shell::new(visit, title, "A link by which a password is set, once.").await?;
    shell.section = Section::Users;
    let until = link.kept.expires_at.date();
    page(StatusCode::OK, &LinkPage { shell, username, is_new, url: link.url, until, days: LASTS_DAYS })
}
