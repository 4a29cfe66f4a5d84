//! The field of a form in which the type of machine is chosen.

use crate::{
    domain::{Instance, MachineType, NameError, Status},
    store::TypeWish,
    web::Offer,
};

/// A type that can be chosen.
pub struct Choice {
    pub machine_type: MachineType,
    pub label: String,
    pub selected: bool,
}

/// The field of the type of machine, in a cloud that has a choice of them.
pub struct TypeField {
    pub choices: Vec<Choice>,
    /// The type of the machine that there is, which keeps it: then there is no choice.
    pub kept: Option<String>,
    /// What the prices are of.
    pub basis: String,
    /// What the type that is selected costs.
    pub cost: Option<String>,
    /// Whether another one than the default is selected.
    pub is_other: bool,
}

impl TypeField {
    /// The field as `typed`, on the form of an instance that is there already or of a new one.
    pub fn of(offer: &Offer, typed: &str, instance: Option<&Instance>) -> Self {
        let own = instance.map(|instance| offer.type_of(instance));
        let typed = [Some(typed.trim()), own.map(MachineType::as_str)].into_iter().flatten();
        let choices = offer.choices();
        let selected = typed
            .filter_map(|text| choices.iter().find(|choice| choice.as_str() == text).copied())
            .next()
            .unwrap_or(&offer.default);
        let kept = instance
            .filter(|instance| keeps_type(instance))
            .map(|instance| offer.label(offer.type_of(instance)));
        Self {
            cost: offer.cost(selected),
            is_other: *selected != offer.default,
            choices: choices
                .iter()
                .map(|choice| Choice {
                    machine_type: (*choice).clone(),
                    label: offer.label(choice),
                    selected: *choice == selected,
                })
                .collect(),
            kept,
            basis: offer.basis(),
        }
    }
}

/// Whether an instance has a machine, or one has been asked for: that keeps its type.
fn keeps_type(instance: &Instance) -> bool {
    instance.instance_id.is_some() || instance.status == Status::Launching
}

/// What is wished for by what was typed. Left out it leaves the type as it is; a cloud that has no choice is asked for
/// none.
pub fn parse(typed: &str, offer: Option<&Offer>) -> Result<TypeWish, NameError> {
    let Some(offer) = offer else { return Ok(TypeWish::default()) };
    let default = Some(offer.default.clone());
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(TypeWish { chosen: None, default });
    }
    match offer.choices().into_iter().find(|choice| choice.as_str() == typed) {
        Some(chosen) => Ok(TypeWish { chosen: Some(chosen.clone()), default }),
        None => Err(NameError::new("This type of machine is not offered here. Choose one from the list.")),
    }
}

/// Why another type cannot be had.
pub fn other_type(now: &MachineType) -> NameError {
    let error = "This instance has a machine, which keeps its type. To have another, terminate the instance first and \
                 deploy it again; or choose its own";
    NameError::new(error).suggest(now.to_string())
}
