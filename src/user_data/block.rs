//! The block of single-quoted assignments that a script begins with.

use super::{FetchValues, Values};
use crate::domain::Dependencies;

/// A deployment's assignments, a line or more each.
pub fn of(values: &Values<'_>) -> String {
    let plan = values.plan;
    let names_django = match &plan.dependencies {
        Dependencies::Requirements { names_django: true, .. } => "1",
        Dependencies::Requirements { .. } | Dependencies::None => "",
    };
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
        ("EC_NAMES_DJANGO", names_django.to_owned()),
        ("EC_DJANGO", plan.django.clone().unwrap_or_default()),
    ];
    assignments.iter().map(|(name, value)| assignment(name, value)).collect()
}

/// A fetch's assignments.
pub fn of_fetch(values: &FetchValues<'_>) -> String {
    let assignments = [
        ("EC_FETCH", values.fetch.to_string()),
        ("EC_KIND", values.kind.name().to_owned()),
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
