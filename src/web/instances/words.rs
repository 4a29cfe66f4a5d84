//! Parts of a detail page in people's words, most of them as HTML.

use super::{
    history::Row,
    log_html,
    view::{Kind, View},
};
use crate::{
    domain::{Database, Dependencies, Deployment, Image, ImageState, Plan, Status, Timestamp},
    web::format::{self, count, rich},
};

/// Seconds since a time as HTML, which a script counts on from.
pub fn elapsed(since: Timestamp) -> String {
    let seconds = Timestamp::now().seconds_since(since).max(0.0) as u64;
    format!(r#"<span class="num" data-elapsed="{seconds}">{seconds} s</span>"#)
}

/// How far a bake is, as HTML.
pub fn bake_in_words(bake: &Image) -> String {
    match (bake.state, bake.step, &bake.step_name) {
        (ImageState::Baking, Some((step, steps)), Some(name)) => {
            format!("It is being baked: step {step} of {steps}, {}", format::escape(name))
        }
        (ImageState::Baking, ..) => "It is being baked".to_owned(),
        _ => "The last bake failed; the launch waits until one succeeds".to_owned(),
    }
}

/// How the check begins to say that there is nothing at `/`, before the pages that there are.
const NO_PAGE: &str = "your project has no page at /, try ";

/// What the check saw: the path it asked first, if it begins with one, stands out. Pages that it names in place of a
/// missing first one are links to the project's own address, `http://203.0.113.7/`.
pub fn saw_html(text: &str, url: Option<&str>) -> String {
    if let (Some(pages), Some(url)) = (text.strip_prefix(NO_PAGE), url) {
        let link = |page: &str| match is_plain_path(page) {
            true => format!(r#"<a href="{}{page}" rel="noreferrer">{page}</a>"#, url.trim_end_matches('/')),
            false => format::escape(page),
        };
        return format!("{NO_PAGE}{}", pages.split(" or ").map(link).collect::<Vec<_>>().join(" or "));
    }
    match text.split_once(' ') {
        Some((path, rest)) if path.starts_with('/') => {
            format!("<strong>{}</strong> {}", format::escape(path), format::escape(rest))
        }
        _ => format::escape(text),
    }
}

/// Whether a text is a path of one site and nothing else: no host, no query, nothing that HTML gives a meaning to.
fn is_plain_path(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._~-".contains(c);
    text.starts_with('/') && !text.starts_with("//") && text.chars().all(plain)
}

/// A deployment's plan in a few words each, with what the deployment found and repaired, as HTML.
pub fn deployment_facts(deployment: &Deployment) -> Vec<(&'static str, String)> {
    let told = |title, texts: &[String]| -> Vec<_> {
        texts.iter().map(|text| (title, format::escape(&log_html::clean(text)))).collect()
    };
    let mut facts = plan_facts(&deployment.plan);
    facts.extend(told("Repaired", deployment.report.repaired()));
    facts.extend(told("Found", deployment.report.warnings()));
    facts
}

/// A plan in a few words each, as HTML.
pub fn plan_facts(plan: &Plan) -> Vec<(&'static str, String)> {
    let django = match &plan.django {
        Some(version) => rich(version),
        None => "the newest release".to_owned(),
    };
    let dependencies = match &plan.dependencies {
        Dependencies::Requirements { path, packages, encoding, names_django } => {
            let place = if path.contains('/') { "beside manage.py" } else { "at the root" };
            let file = path.rsplit('/').next().unwrap_or(path);
            let utf16 =
                if encoding.name() == "UTF-8" { String::new() } else { format!(", {}", encoding.name()) };
            let django = if *names_django { "" } else { "; Django is added" };
            format!(
                "<code>{}</code> {place}, {}{utf16}{django}",
                format::escape(file),
                count(*packages, "package")
            )
        }
        Dependencies::Uv { path, packages } => {
            format!("<code>{}</code>, {}", format::escape(path), count(*packages, "package"))
        }
        Dependencies::Listed { path, list, .. } => {
            format!("<code>{}</code>, {}", format::escape(path), count(list.len() as u64, "package"))
        }
        Dependencies::Inferred { list } => {
            format!("none declared; read from the imports: <code>{}</code>", format::escape(&list.join(" ")))
        }
        Dependencies::None => "none declared: Django alone".to_owned(),
    };
    let database = match plan.database {
        Database::Sqlite => "SQLite, kept between deployments",
        Database::Postgresql => "PostgreSQL",
        Database::Mysql => "MySQL",
        Database::Unknown => "as the settings compute it",
    };
    let settings = format!(
        "<code>{}</code>, named by {}",
        format::escape(&plan.settings),
        format::escape(&plan.settings_from)
    );
    let wsgi = plan.wsgi.as_ref().map(|wsgi| format!("<code>{}</code>", format::escape(wsgi)));
    let migrations = match plan.migrations {
        0 => "none committed".to_owned(),
        n => format!("committed, {n}"),
    };
    let mut facts = vec![
        ("Django", django),
        ("Settings", settings),
        ("WSGI", wsgi.unwrap_or_else(|| "Django's own".to_owned())),
        ("Dependencies", dependencies),
        ("Database", database.to_owned()),
        ("Migrations", migrations),
    ];
    facts.extend(plan.warnings.iter().map(|warning| ("Note", rich(warning))));
    facts
}

/// Questions of the templates that are answered in a word.
impl View {
    pub fn rows(&self) -> Vec<Row> {
        self.history.iter().map(Row::of).collect()
    }

    /// How many deployments there are, where the page does not list all of them.
    pub fn more(&self) -> Option<i64> {
        let all = self.history.first().map_or(0, |newest| newest.number);
        (all > self.history.len() as i64).then_some(all)
    }

    pub fn is_working(&self) -> bool {
        self.kind == Kind::Working
    }

    pub fn is_live(&self) -> bool {
        self.kind == Kind::Live
    }

    pub fn is_resting(&self) -> bool {
        self.kind == Kind::Resting
    }

    pub fn has_steps(&self) -> bool {
        matches!(self.kind, Kind::Working | Kind::Failed)
    }

    /// Whether it was to be terminated and the reconciler has not begun.
    pub fn is_leaving(&self) -> bool {
        !self.is_wanted() && !matches!(self.instance.status, Status::Terminating | Status::Terminated)
    }

    /// What a page that moves shows besides the parts that are sent one by one.
    pub fn frame(&self) -> String {
        format!(
            "{:?}",
            (
                &self.instance.description,
                &self.instance.repo,
                self.can_terminate(),
                self.notice(),
                self.waiting().map(|waiting| waiting.id),
                self.history
                    .iter()
                    .map(|deployment| (deployment.id, deployment.begun_at, deployment.outcome))
                    .collect::<Vec<_>>(),
            )
        )
    }

    /// The notice, as HTML.
    pub fn notice(&self) -> Option<String> {
        // What is said of a failed redeployment is said by a card of its own.
        let shown = self.failed_since().is_none();
        self.instance.notice.as_deref().filter(|_| shown).map(rich)
    }

    /// A deployment that waits while the page is about another, or about none.
    pub fn waiting(&self) -> Option<&Deployment> {
        let on_page = self.kind == Kind::Working;
        self.queued()
            .filter(|queued| !(on_page && self.shown.as_ref().map(|shown| shown.id) == Some(queued.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_place_of_a_missing_first_one_are_links_of_the_project_alone() {
        let html = |text: &str| saw_html(text, Some("http://203.0.113.7/"));
        assert_eq!(
            html("your project has no page at /, try /polls/ or /admin/"),
            r#"your project has no page at /, try <a href="http://203.0.113.7/polls/" rel="noreferrer">/polls/</a> or <a href="http://203.0.113.7/admin/" rel="noreferrer">/admin/</a>"#
        );
        for hostile in
            ["//evil.example/", "/a\"onclick=x", "javascript:alert(1)", "/?next=x", "@evil.example", "<b>"]
        {
            let html = html(&format!("{NO_PAGE}{hostile}"));
            assert!(!html.contains("<a ") && !html.contains("<b>"), "{html}");
        }
        assert_eq!(html("your project has no page at /"), "your project has no page at /");
        assert_eq!(saw_html("/ answers <200>", None), "<strong>/</strong> answers &lt;200&gt;");
    }
}
