//! From what was read to the plan.

use super::{
    Field, Finding, Request, apps, database, django, layout, modules::Modules, requirements, settings,
    snapshot::Snapshot,
};
use crate::domain::{Branch, Plan};

/// How the commit is to be deployed, or what to fix.
pub(super) fn make(snapshot: &Snapshot, request: &Request, branch: Branch) -> Result<Plan, Vec<Finding>> {
    let of_project = |error| vec![Finding { field: Field::Project, error }];
    layout::check(snapshot, &request.project).map_err(of_project)?;
    let modules = Modules { snapshot, project: request.project.as_str() };
    let found = settings::find(modules).map_err(of_project)?;
    let declared = requirements::find(snapshot, modules.project);
    let database = database::find(&found.chain);
    let mut warnings = found.warnings;
    warnings.extend(declared.warnings);
    warnings.extend(database::warning(database));
    warnings.extend(apps::warning(modules, &found.chain));
    Ok(Plan {
        commit: snapshot.commit.clone(),
        subject: snapshot.subject.clone(),
        branch,
        project: request.project.clone(),
        settings: found.module,
        settings_from: found.from,
        wsgi: found.wsgi,
        dependencies: declared.dependencies,
        // A requirements file that names Django without a version leaves it to the installer.
        django: match declared.django {
            Some(version) => Some(version).filter(|version| !version.is_empty()),
            None => Some(django::infer(modules)),
        },
        database,
        chosen_database: None,
        variables: Vec::new(),
        python: None,
        committed: None,
        migrations: apps::migrations(modules),
        warnings,
    })
}
