//! The block of single-quoted assignments that a script begins with.

use super::{FetchValues, Values};
use crate::domain::{Answer, Database, Demanded, Dependencies, Timestamp};

/// A deployment's assignments, a line or more each.
pub fn of(values: &Values<'_>) -> String {
    let plan = values.plan;
    let names_django = match &plan.dependencies {
        Dependencies::Requirements { names_django: true, .. }
        | Dependencies::Listed { names_django: true, .. }
        | Dependencies::Inferred { .. }
        | Dependencies::Uv { .. } => "1",
        Dependencies::Requirements { .. } | Dependencies::Listed { .. } | Dependencies::None => "",
    };
    let uv_lock = match &plan.dependencies {
        Dependencies::Uv { path, .. } => path.clone(),
        _ => String::new(),
    };
    let (versions, python_from) =
        plan.python.as_ref().map(|wish| (wish.versions.join(" "), wish.from.clone())).unwrap_or_default();
    let variables: String = plan.variables.iter().filter_map(filled).collect();
    let assignments = [
        ("EC_DEPLOYMENT", values.deployment.to_string()),
        ("EC_CALLBACK_URL", values.callback_url.to_owned()),
        ("EC_TOKEN", values.token.to_owned()),
        ("EC_PROGRAMS", super::programs_digest().to_owned()),
        ("EC_INSTANCE", values.instance.to_string()),
        ("EC_REPO", values.repo.clone_url()),
        ("EC_BRANCH", plan.branch.to_string()),
        ("EC_COMMIT", plan.commit.to_string()),
        ("EC_PROJECT", plan.project.to_string()),
        ("EC_SETTINGS", plan.settings.clone()),
        ("EC_WSGI", plan.wsgi.clone().unwrap_or_default()),
        ("EC_REQUIREMENTS", plan.requirements().unwrap_or_default().to_owned()),
        ("EC_UV_LOCK", uv_lock),
        ("EC_LIST", super::requirements(plan).map(|list| super::digest(list.as_bytes())).unwrap_or_default()),
        ("EC_NAMES_DJANGO", names_django.to_owned()),
        ("EC_DJANGO", plan.django.clone().unwrap_or_default()),
        ("EC_PYTHON", versions),
        ("EC_PYTHON_FROM", python_from),
        ("EC_COMMITTED", plan.committed.map(Timestamp::rfc3339).unwrap_or_default()),
        ("EC_DATABASE", plan.chosen_database.map_or("", Database::name).to_owned()),
        ("EC_DATABASE_LIKELY", plan.database.name().to_owned()),
        ("EC_VARIABLES", variables),
    ];
    assignments.iter().map(|(name, value)| assignment(name, value)).collect()
}

/// What the machine gives a variable that its owner gave no value, as a line: `NAME secret`, `NAME address`,
/// `NAME text TEXT`, `NAME database PART`; none where the owner is asked.
fn filled(demanded: &Demanded) -> Option<String> {
    let what = match &demanded.answer {
        Answer::Secret => "secret".to_owned(),
        Answer::Address => "address".to_owned(),
        Answer::Text { text } => format!("text {}", text.replace(['\n', '\r'], " ")),
        Answer::Database { part } => format!("database {}", part.name()),
        Answer::Asked { .. } => return None,
    };
    Some(format!("{} {what}\n", demanded.name))
}

/// A fetch's assignments.
pub fn of_fetch(values: &FetchValues<'_>) -> String {
    let assignments = [
        ("EC_FETCH", values.fetch.to_string()),
        ("EC_KIND", values.kind.name().to_owned()),
        // One line: JSON writes a line break as two characters.
        ("EC_COMMAND", values.command.map_or_else(String::new, |words| serde_json::json!(words).to_string())),
        ("EC_CALLBACK_URL", values.callback_url.to_owned()),
        ("EC_TOKEN", values.token.to_owned()),
    ];
    assignments.iter().map(|(name, value)| assignment(name, value)).collect()
}

/// `NAME='value'`: within single quotes a shell changes nothing, and a quote itself closes them, is
/// escaped and opens them again.
pub(super) fn assignment(name: &str, value: &str) -> String {
    assert!(!value.contains('\0'), "{name} holds a NUL");
    format!("{name}='{}'\n", value.replace('\'', r"'\''"))
}
