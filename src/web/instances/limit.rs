//! How many instances one may have, as pages tell it.

use crate::web::{auth::Visit, error::WebError};

/// Why one instance more was refused, and what can be done.
pub fn too_many(limit: u32) -> String {
    let limit = if limit == 1 { "1 instance".to_owned() } else { format!("{limit} instances") };
    format!(
        "An owner may have {limit} here, and this would be one more. Terminate one that is not needed any more, or ask an \
         admin for more: whoever runs the site sets the limit, by MAX_INSTANCES_PER_OWNER."
    )
}

/// How many instances the visitor has of those they may have, where there is a limit for them.
pub async fn used(visit: &Visit) -> Result<Option<String>, WebError> {
    let store = &visit.site.store;
    match store.max_instances().filter(|_| !visit.user.is_admin()) {
        Some(limit) => {
            Ok(Some(format!("You have {} of {limit} instances.", store.instances_of(visit.user.id).await?)))
        }
        None => Ok(None),
    }
}
