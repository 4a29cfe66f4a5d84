//! From what was read to the plan.

use super::{
    Field, Finding, Request, apps, database, dependencies, imports, layout, modules::Modules, settings,
    snapshot::Snapshot, variables, wish,
};
use crate::domain::{Branch, Plan};

/// How the commit is to be deployed, or what to fix.
pub(super) fn make(snapshot: &Snapshot, request: &Request, branch: Branch) -> Result<Plan, Vec<Finding>> {
    let of_project = |error| vec![Finding { field: Field::Project, error }];
    layout::check(snapshot, &request.project).map_err(of_project)?;
    let modules = Modules { snapshot, project: request.project.as_str() };
    let found = settings::find(modules).map_err(of_project)?;
    let imports = imports::read(modules, &found.chain);
    let declared = dependencies::find(modules, &found.chain, &imports);
    let database = database::find(&found.chain, &declared.names);
    let (python, of_python) = wish::find(modules, &declared.django);
    let mut warnings = found.warnings;
    warnings.extend(declared.warnings);
    warnings.extend(of_python);
    warnings.extend(database.warning);
    warnings.extend(apps::warning(modules, &found.chain));
    Ok(Plan {
        commit: snapshot.commit.clone(),
        subject: snapshot.subject.clone(),
        committed: snapshot.committed,
        branch,
        project: request.project.clone(),
        settings: found.module,
        settings_from: found.from,
        wsgi: found.wsgi,
        python,
        dependencies: declared.dependencies,
        // A file that names Django without a version leaves it to the installer.
        django: Some(declared.django).filter(|version| !version.is_empty()),
        database: database.database,
        chosen_database: None,
        variables: variables::demanded(modules, &found.chain, &imports.loaded),
        migrations: apps::migrations(modules),
        warnings,
    })
}
