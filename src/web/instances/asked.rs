//! The variables that a project's settings ask for, on the form of its instance: which have no value yet, what was typed
//! of them, and the fields to type the rest into.

use std::collections::{BTreeMap, HashMap};

use super::{environment_view::read_in, typed_secret};
use crate::{
    domain::{Answer, Demanded, NameError, Plan, SecretValue, Variable, VariableName},
    preflight::{Field, Finding},
    store::KeptVariable,
    web::{
        auth::Visit,
        format::{count, escape, field_error, rich},
    },
};

/// What was typed of variables: fields `env.NAME`, what was `kept.NAME` of what was typed before, and `empty.NAME` where
/// one is to be empty.
pub struct TypedVariables {
    typed: BTreeMap<VariableName, TypedValue>,
}

#[derive(Default)]
struct TypedValue {
    text: String,
    is_empty: bool,
}

impl TypedVariables {
    /// Reads the fields of a form. What has no name of a variable was not sent by a form of this site.
    pub fn of(visit: &Visit, fields: &HashMap<String, String>) -> Self {
        let mut typed: BTreeMap<VariableName, TypedValue> = BTreeMap::new();
        for (field, text) in fields {
            let Some((kind, name)) = field.split_once('.') else { continue };
            let Ok(name) = name.parse() else { continue };
            match kind {
                "env" if !text.is_empty() => typed.entry(name).or_default().text = typed_secret::typed(text),
                "env" => drop(typed.entry(name).or_default()),
                "kept" if fields.get(&format!("env.{name}")).is_none_or(String::is_empty) => {
                    typed.entry(name).or_default().text =
                        typed_secret::opened(visit, text).unwrap_or_default();
                }
                "empty" if text == "yes" => typed.entry(name).or_default().is_empty = true,
                _ => {}
            }
        }
        Self { typed }
    }

    /// The variables that have a value by that, and what is wrong with the others' values.
    pub fn given(&self) -> (Vec<Variable>, BTreeMap<VariableName, NameError>) {
        let (mut given, mut wrong) = (Vec::new(), BTreeMap::new());
        for (name, typed) in self.typed.iter().filter(|(_, typed)| typed.is_empty || !typed.text.is_empty()) {
            match SecretValue::try_from(typed.text.clone()) {
                Ok(value) => given.push(Variable { name: name.clone(), value }),
                Err(error) => drop(wrong.insert(name.clone(), error)),
            }
        }
        (given, wrong)
    }
}

/// The variables that a plan asks its owner for, each once, without those that the instance has a value of.
pub fn asked<'a>(
    plan: &'a Plan,
    kept: &'a [KeptVariable],
) -> impl Iterator<Item = (VariableName, &'a Demanded)> {
    let has = |name: &VariableName| kept.iter().any(|kept| kept.name == *name && kept.has_value());
    let first = |n: usize, name: &str| !plan.variables[..n].iter().any(|other| other.name == name);
    plan.variables
        .iter()
        .enumerate()
        .filter(move |(n, demanded)| first(*n, &demanded.name))
        .filter(|(_, demanded)| matches!(demanded.answer, Answer::Asked { .. }))
        // What cannot be given is not asked for.
        .filter_map(|(_, demanded)| demanded.name.parse().ok().map(|name| (name, demanded)))
        .filter(move |(name, _)| !has(name))
}

/// What keeps a plan from being deployed though its owner gives every value that can be given: variables that the settings
/// ask for under names that are none of a project's, unless the machine sets them by itself.
pub fn findings(plan: &Plan) -> Vec<Finding> {
    let asked = plan.variables.iter().filter(|demanded| matches!(demanded.answer, Answer::Asked { .. }));
    asked
        .filter(|demanded| !VariableName::is_set_by_the_machine(&demanded.name))
        .filter_map(|demanded| {
            let why = demanded.name.parse::<VariableName>().err()?.message;
            let (name, file) = (demanded.name.replace('`', "'"), demanded.file.replace('`', "'"));
            let error = NameError::new(format!(
                "The settings ask for the variable `{name}` (`{file}`, line {}), which cannot be given a value. {why} \
                 Give it a default there, or another name.",
                demanded.line
            ));
            Some(Finding { field: Field::Repo, error })
        })
        .collect()
}

/// Names of variables whose values are lost with the key that they were sealed with.
pub fn lost(kept: &[KeptVariable]) -> impl Iterator<Item = &VariableName> {
    kept.iter().filter(|kept| kept.is_set && kept.is_lost).map(|kept| &kept.name)
}

/// Whether a plan cannot be deployed with what the instance has and what was given besides.
pub fn is_missing(plan: &Plan, kept: &[KeptVariable], given: &[Variable]) -> bool {
    let is_given = |name: &VariableName| given.iter().any(|variable| variable.name == *name);
    asked(plan, kept).any(|(name, _)| !is_given(&name)) || lost(kept).any(|name| !is_given(name))
}

/// A field for one variable.
pub struct AskedField {
    /// The field's id on the page.
    pub id: String,
    pub name: String,
    /// What is in it.
    pub value: String,
    /// What was typed before and is not shown again, sealed.
    pub kept: String,
    pub is_secret: bool,
    /// Whether it is to be there and empty.
    pub is_empty: bool,
    /// Where it is read, as HTML.
    pub help: String,
    /// What is wrong with it, as HTML.
    pub error: Option<String>,
}

/// The variables part of a form.
#[derive(Default)]
pub struct AskedView {
    pub fields: Vec<AskedField>,
    /// The plan that asks.
    plan: Option<Plan>,
    /// How many of them have no value.
    missing: usize,
    /// What is said besides: what was not kept.
    pub refusal: Option<String>,
}

/// What no form can make up for: values would go to machines over http.
pub const UNSENDABLE: &str = "Variables cannot be sent over http, where others could read them on their way: set \
                              CALLBACK_URL of this site to https. Without variables the project can be deployed.";

impl AskedView {
    /// The fields for what a plan asks for, where there is one, and for what else was typed, so that it is not lost.
    pub fn of(visit: &Visit, plan: Option<Plan>, kept: &[KeptVariable], typed: &TypedVariables) -> Self {
        let (given, mut wrong) = typed.given();
        let is_given = |name: &VariableName| given.iter().any(|variable| variable.name == *name);
        let mut view = Self::default();
        let mut field =
            |name: &VariableName, offer: Option<&str>, is_secret: bool, help: String, is_asked: bool| {
                let typed = typed.typed.get(name);
                let text = typed.map_or("", |typed| typed.text.as_str());
                let is_empty = typed.is_some_and(|typed| typed.is_empty);
                let is_missing = is_asked && !is_given(name);
                view.missing += usize::from(is_missing);
                let error = wrong.remove(name).or_else(|| {
                    let again = is_missing && typed.is_some();
                    again.then(|| NameError::new("Give it a value, or say that it is to be empty."))
                });
                let id = format!("env-{name}");
                view.fields.push(AskedField {
                    error: error.map(|error| field_error(&error, &id)),
                    name: name.to_string(),
                    value: match (is_secret, typed) {
                        (true, _) => String::new(),
                        (false, Some(_)) => text.to_owned(),
                        (false, None) => offer.unwrap_or_default().to_owned(),
                    },
                    kept: if is_secret { typed_secret::sealed(visit, text) } else { String::new() },
                    is_secret,
                    is_empty,
                    help,
                    id,
                });
            };
        let mut shown = Vec::new();
        for (name, demanded) in plan.iter().flat_map(|plan| asked(plan, kept)) {
            let Answer::Asked { offer, secret } = &demanded.answer else { continue };
            field(&name, offer.as_deref(), *secret, help(demanded), true);
            shown.push(name);
        }
        for name in lost(kept).filter(|name| !shown.contains(*name)).collect::<Vec<_>>() {
            let help = "The key that its value was encrypted with is gone: give it a value anew.";
            field(name, None, true, help.to_owned(), plan.is_some());
            shown.push(name.clone());
        }
        for name in typed.typed.keys().filter(|name| !shown.contains(*name)) {
            field(name, None, true, "You gave it a value before.".to_owned(), false);
        }
        view.plan = plan;
        view
    }

    /// Whether the form asks for something.
    pub fn asks(&self) -> bool {
        self.missing > 0
    }

    /// The title of what is asked.
    pub fn title(&self) -> String {
        format!("The settings ask for {}", count(self.missing as u64, "variable"))
    }

    /// The page's title.
    pub fn page_title(&self) -> String {
        match self.missing {
            1 => "One variable is needed".to_owned(),
            n => format!("{} are needed", count(n as u64, "variable")),
        }
    }

    /// What was found and what is missing, as HTML.
    pub fn sentence(&self) -> String {
        let Some(plan) = &self.plan else { return String::new() };
        let made = plan.variables.iter().any(|demanded| matches!(demanded.answer, Answer::Secret));
        format!(
            "Preflight found <code>{}</code> at <code>{}</code>. Its settings read what is below and have no default for it. Nothing was launched.{}",
            escape(plan.project.as_str()),
            plan.commit.short(),
            if made { " The project's secret is made for you." } else { "" }
        )
    }

    /// The plan that asks, for its card.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref().filter(|_| self.asks())
    }

    /// The plan in a few words each, as HTML.
    pub fn plan_facts(&self) -> Vec<(&'static str, String)> {
        self.plan.as_ref().map(super::words::plan_facts).unwrap_or_default()
    }
}

/// Where a variable is read and what is offered, as HTML.
fn help(demanded: &Demanded) -> String {
    let mut help = read_in(demanded);
    help[..1].make_ascii_uppercase();
    help.push('.');
    if let Answer::Asked { offer: Some(offer), .. } = &demanded.answer {
        help.push_str(&format!(" {} would do.", rich(&format!("`{}`", offer.replace('`', "'")))));
    }
    if matches!(demanded.answer, Answer::Asked { secret: true, .. }) {
        help.push_str(" Kept encrypted and never shown again.");
    }
    help
}
