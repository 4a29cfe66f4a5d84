//! The type of an instance's machine as a form asks for it. A machine keeps its type, so that another one can only be
//! asked for while there is none.

use sqlx::SqliteConnection;

use super::SubmitError;
use crate::domain::{Instance, MachineType};

/// The type of machine that a form asks for, in a cloud that has a choice of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeWish {
    /// The type that was chosen; none leaves the one that the instance has.
    pub chosen: Option<MachineType>,
    /// The type of an instance that has none and for which none was chosen. It is written down then, so that the
    /// record says what its machine is, whatever the site's default will be.
    pub default: Option<MachineType>,
}

impl TypeWish {
    /// The type of a new instance.
    pub(super) fn of_new(&self) -> Option<&MachineType> {
        self.chosen.as_ref().or(self.default.as_ref())
    }

    /// The type that an instance which is there is to have.
    pub(super) fn over<'a>(&'a self, there: &'a Instance) -> Option<&'a MachineType> {
        self.chosen.as_ref().or_else(|| self.now(there))
    }

    /// Whether it leaves an instance its type.
    pub(super) fn leaves(&self, there: &Instance) -> bool {
        self.over(there) == self.now(there)
    }

    /// The type that an instance has, or would get.
    fn now<'a>(&'a self, there: &'a Instance) -> Option<&'a MachineType> {
        there.machine_type.as_ref().or(self.default.as_ref())
    }

    /// Refuses another type for an instance that has a machine, or is about to be given one.
    pub(super) async fn check(&self, tx: &mut SqliteConnection, there: &Instance) -> Result<(), SubmitError> {
        let Some(now) = self.now(there).filter(|_| !self.leaves(there)) else { return Ok(()) };
        let row = there.row.0;
        // The request of an attempt says the type already.
        let attempts = sqlx::query!(
            r#"SELECT count(*) AS "n!: i64" FROM attempts WHERE instance = $1 AND state IN ('open', 'launched')"#,
            row
        )
        .fetch_one(tx)
        .await?;
        if attempts.n > 0 || there.instance_id.is_some() {
            return Err(SubmitError::OtherType { machine_type: now.clone() });
        }
        Ok(())
    }
}
