//! Terminating an orphan: what goes, and its id typed to confirm. It goes once the reconciler sees to it.

use askama::Template;
use axum::{
    Router,
    extract::Path,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde::Deserialize;

use super::{
    find,
    orphans::{Row, row},
};
use crate::{
    domain::{Holding, HoldingKind, Orphan, OrphanWish},
    web::{
        Site,
        auth::{Admin, CheckedForm, Visit},
        error::WebError,
        format::escape,
        page::{Section, Shell, page},
    },
};

pub fn router() -> Router<Site> {
    Router::new().route("/cloud/orphans/{id}/terminate", get(show).post(terminate))
}

#[derive(Deserialize)]
struct Confirmation {
    #[serde(default)]
    confirm: String,
}

#[derive(Template)]
#[template(path = "orphan_terminate.html")]
struct TerminatePage {
    shell: Shell,
    row: Row,
    /// What goes, each as HTML.
    losses: Vec<String>,
    /// What does not go.
    stays: &'static str,
    typed: String,
    wrong: bool,
}

async fn show(Admin(visit): Admin, Path(number): Path<String>) -> Result<Response, WebError> {
    let orphan = find(&visit, &number).await?;
    if orphan.wish.is_some() {
        return Ok(Redirect::to("/cloud#orphans").into_response());
    }
    form(&visit, StatusCode::OK, orphan, String::new(), false).await
}

async fn terminate(
    Admin(visit): Admin,
    Path(number): Path<String>,
    CheckedForm(typed): CheckedForm<Confirmation>,
) -> Result<Response, WebError> {
    let orphan = find(&visit, &number).await?;
    if typed.confirm.trim() != orphan.holding.id {
        return form(&visit, StatusCode::UNPROCESSABLE_ENTITY, orphan, typed.confirm, true).await;
    }
    if visit.site.store.want_orphan(orphan.row, OrphanWish::Terminate, visit.user.id).await? {
        let (kind, id) = (orphan.holding.kind.name(), &orphan.holding.id);
        tracing::info!(kind, id, by = %visit.user.username, "an orphan is to be terminated");
    }
    Ok(Redirect::to("/cloud#orphans").into_response())
}

async fn form(
    visit: &Visit,
    status: StatusCode,
    orphan: Orphan,
    typed: String,
    wrong: bool,
) -> Result<Response, WebError> {
    let title = format!("Terminate {}", orphan.holding.id);
    let description = format!("Confirm that {} is to be terminated.", orphan.holding.id);
    let mut shell = Shell::new(visit, title, description).await?;
    shell.section = Section::Cloud;
    let row = row(&visit.site, orphan).await?;
    let losses = losses(&row.orphan.holding);
    let stays = stays(row.orphan.holding.kind);
    page(status, &TerminatePage { shell, row, losses, stays, typed, wrong })
}

/// What goes with it, each as HTML.
fn losses(holding: &Holding) -> Vec<String> {
    let id = format!("<code>{}</code>", escape(&holding.id));
    let size = holding.gib.map(|gib| format!(" of {gib} GiB")).unwrap_or_default();
    let held = holding.holder.as_ref().map(|id| format!("<code>{}</code>", escape(id)));
    let ip = holding.public_ip.map(|ip| format!("<code>{ip}</code>"));
    match holding.kind {
        HoldingKind::Machine => {
            let disk = match holding.gib {
                Some(gib) => format!(" and its disk of {gib} GiB"),
                None => " and its disk".to_owned(),
            };
            let data = format!(
                "The machine {id}{disk}, with whatever is on it: a project's <strong>database</strong> and uploaded media files."
            );
            let ip = ip.map(|ip| format!("What answers at {ip}."));
            [data].into_iter().chain(ip).collect()
        }
        HoldingKind::Image => vec![format!(
            "The golden image {id}{size} with its snapshots. No machine can boot from it any more."
        )],
        HoldingKind::Address => {
            let ip = ip.unwrap_or_else(|| id.clone());
            let given = format!(
                "The Elastic IP {ip}, which is given back and cannot be had again. Domains that lead to it lead nowhere."
            );
            let held = held.map(|machine| format!("The machine {machine} loses its public IP."));
            [given].into_iter().chain(held).collect()
        }
        HoldingKind::Volume => {
            let data = format!("The volume {id}{size}, with <strong>all the data</strong> on it.");
            let held = held.map(|machine| {
                format!("It is attached to the machine {machine}, so that AWS refuses until it is detached.")
            });
            [data].into_iter().chain(held).collect()
        }
        HoldingKind::Snapshot => {
            vec![format!("The snapshot {id}{size}, of which no image can be made any more.")]
        }
    }
}

/// What does not go with it.
fn stays(kind: HoldingKind) -> &'static str {
    match kind {
        HoldingKind::Machine => {
            "Instances and their history are not touched. An Elastic IP of the machine stays, and is listed by itself."
        }
        HoldingKind::Image => "Machines that have booted from it go on.",
        HoldingKind::Address | HoldingKind::Volume | HoldingKind::Snapshot => "Nothing else is touched.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_is_told_by_kind_and_what_the_cloud_says_is_text() {
        let holding = Holding {
            gib: Some(16),
            holder: Some("i-<b>".to_owned()),
            public_ip: Some("203.0.113.9".parse().unwrap()),
            ..Holding::new(HoldingKind::Machine, "i-1", "running")
        };
        let of = |kind| losses(&Holding { kind, ..holding.clone() }).join("\n");
        let machine = of(HoldingKind::Machine);
        assert!(machine.contains("its disk of 16 GiB") && machine.contains("203.0.113.9"), "{machine}");
        let address = of(HoldingKind::Address);
        assert!(address.contains("i-&lt;b&gt;</code> loses its public IP"), "{address}");
        assert!(of(HoldingKind::Volume).contains("all the data"));
        assert!(of(HoldingKind::Image).contains("No machine can boot from it"));
        assert!(of(HoldingKind::Snapshot).contains("no image can be made"));
    }
}
