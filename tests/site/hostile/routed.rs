//! The table of routes against the source of the web half.

use std::{collections::BTreeSet, fs, path::Path};

use crate::routes::ROUTES;

/// On a listener of its own, which takes no input and serves nothing else; `metrics.rs` asks it.
const ELSEWHERE: [(&str, &str); 1] = [("/metrics", "GET")];

/// Every path and method that the source of the web half routes.
fn routed() -> BTreeSet<(String, &'static str)> {
    let mut found = BTreeSet::new();
    visit(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/web")), &mut |text| {
        for call in text.split(".route(").skip(1) {
            let arguments = call.split(".route(").next().unwrap();
            let path = arguments.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
            let path = path.expect("a route's path is a literal, so that its line can be looked for");
            // The call ends with its statement, or where the next part of the router begins.
            let end = [";", ".merge(", ".layer(", "\n}"].iter().filter_map(|end| arguments.find(end)).min();
            let handlers = &arguments[..end.unwrap_or(arguments.len())];
            for (word, method) in [
                ("get(", "GET"),
                ("post(", "POST"),
                ("put(", "PUT"),
                ("patch(", "PATCH"),
                ("delete(", "DELETE"),
            ] {
                let calls = handlers.match_indices(word);
                let whole = calls
                    .filter(|(at, _)| !handlers[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
                if whole.count() > 0 {
                    found.insert((path.to_owned(), method));
                }
            }
        }
    });
    found
}

fn visit(directory: &Path, each: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            visit(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            each(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_route_has_its_line() {
    let here = ROUTES.iter().map(|route| (route.path, route.method));
    let table: BTreeSet<_> = here.chain(ELSEWHERE).map(|(path, method)| (path.to_owned(), method)).collect();
    let routed = routed();
    assert!(routed.len() >= 20, "the source was read: {routed:?}");
    let missing: Vec<_> = routed.difference(&table).collect();
    assert!(missing.is_empty(), "add lines for these to ROUTES in tests/site/routes.rs: {missing:?}");
    let gone: Vec<_> = table.difference(&routed).collect();
    assert!(gone.is_empty(), "these are routes no more: {gone:?}");
}
