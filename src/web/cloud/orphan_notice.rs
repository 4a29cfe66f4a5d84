//! The notice that there is something in the cloud that no record knows.

use askama::Template;

use super::orphans::{Row, in_words, month, rows};
use crate::{
    domain::HoldingKind,
    web::{auth::Visit, error::WebError},
};

/// What an admin should know of the cloud.
#[derive(Template)]
#[template(path = "parts/orphan_notice.html")]
pub struct OrphanNotice {
    title: String,
}

impl OrphanNotice {
    /// The notice, where whoever visits is an admin and there are orphans.
    pub async fn of(visit: &Visit) -> Result<Option<Self>, WebError> {
        if !visit.user.is_admin() {
            return Ok(None);
        }
        let rows = rows(&visit.site).await?;
        Ok((!rows.is_empty()).then(|| Self { title: title(&rows) }))
    }
}

/// What there is, what it costs, and whose it is not.
fn title(rows: &[Row]) -> String {
    let machines = rows.iter().all(|row| row.orphan.holding.kind == HoldingKind::Machine);
    let whose = if machines { "no instance knows" } else { "no record knows" };
    let one = rows.len() == 1;
    match month(rows) {
        Some(month) => {
            format!(
                "{} {} about {} a month that {whose}",
                in_words(rows),
                if one { "costs" } else { "cost" },
                month.about()
            )
        }
        None => format!("{} {} in the cloud that {whose}", in_words(rows), if one { "is" } else { "are" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Holding, Orphan, OrphanId, Timestamp, price::Cents};

    #[test]
    fn it_says_what_there_is_and_what_it_costs() {
        let row = |kind, cost| Row {
            orphan: Orphan {
                row: OrphanId(1),
                holding: Holding::new(kind, "x", "running"),
                found_at: Timestamp(0),
                last_seen_at: Timestamp(0),
                wish: None,
                wished_by: None,
                failure: None,
            },
            cost,
        };
        let machine = |cost| row(HoldingKind::Machine, cost);
        assert_eq!(
            title(&[machine(Some(Cents(2011))), machine(Some(Cents(1100)))]),
            "2 machines cost about $31 a month that no instance knows"
        );
        assert_eq!(title(&[machine(None)]), "1 machine is in the cloud that no instance knows");
        assert_eq!(
            title(&[machine(None), row(HoldingKind::Address, Some(Cents(365)))]),
            "1 machine, 1 Elastic IP cost about $4 a month that no record knows"
        );
    }
}
