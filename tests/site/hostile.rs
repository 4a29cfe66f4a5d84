//! Whatever is sent, the site answers with a sentence, in time, and never with a fault of its own. The table of
//! routes times the table of hostile values, and each way in which a request can be none.

mod answer;
mod fetches;
mod repositories;
mod routed;
mod values;
mod world;

use ec_django_deployer::domain::Role;
use reqwest::{Method, StatusCode};

use crate::{
    helpers::{encode, spawn_app},
    routes::{Gives, ROUTES, Route, Takes, Who},
};
use answer::{is_told, keeps_what_was_typed, shows_no_markup};
use values::{Value, values};
use world::{World, form};

fn forms() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(|route| route.gives == Gives::Form)
}

/// A body with the token and good values, but `field`, which has `value`.
async fn body_with(world: &mut World, route: &Route, field: &str, value: &[u8]) -> String {
    let (token, good) = (world.token(route).await, world.good(route).await);
    let good = good.iter().filter(|(name, _)| *name != field).map(|(name, good)| (*name, &**good));
    let fields: Vec<_> = [("csrf_token", &*token)].into_iter().chain(good).collect();
    format!("{}&{field}={}", encode(&fields), values::encode(value))
}

/// Whether a field may take the value.
fn may_take(takes: Takes, value: &[u8]) -> bool {
    match takes {
        Takes::Nothing | Takes::Choice => false,
        Takes::Empty => value.trim_ascii().is_empty(),
        Takes::Line => {
            let text = String::from_utf8_lossy(value);
            let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            text.chars().count() <= 200 && !text.trim().contains(|c: char| c.is_control() || turns(c))
        }
        Takes::Text | Takes::Anything | Takes::Secret => true,
    }
}

#[tokio::test]
async fn no_field_of_any_form_takes_what_it_should_not() {
    let mut world = World::new().await;
    let mut sent = 0;
    for route in forms() {
        for (field, _, takes) in route.fields {
            for (name, value) in values(&world.canary) {
                let what = format!("{} {}, {field}: {name}", route.method, route.path);
                let body = body_with(&mut world, route, field, &value).await;
                let answer = world.ask(route, &world.path(route, &route.good()), form(body)).await;
                sent += 1;
                shows_no_markup(&answer, &what);
                if answer.status == StatusCode::SEE_OTHER {
                    assert!(may_take(*takes, &value), "{what} was taken");
                    world.look_where_it_went(route, &answer, &value, &what).await;
                    continue;
                }
                is_told(&answer, &what);
                assert_ne!(answer.status, StatusCode::FORBIDDEN, "{what}: the form's token was right");
                let text = String::from_utf8_lossy(&value);
                match takes {
                    Takes::Secret => {
                        assert!(text.trim().len() < 8 || !answer.body.contains(&*text), "{what}")
                    }
                    Takes::Anything | Takes::Choice => {}
                    _ if answer.status == StatusCode::UNPROCESSABLE_ENTITY => {
                        keeps_what_was_typed(&answer, field, &text, &what);
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(sent > 300, "{sent}");
    world.nothing_was_executed();
}

#[tokio::test]
async fn no_parameter_of_any_path_or_query_makes_a_fault() {
    let mut world = World::new().await;
    for route in ROUTES {
        for (name, value) in values(&world.canary) {
            // A path of tens of thousands of bytes is refused before it is anything's.
            let value = if name == "long" { value[..3000].to_vec() } else { value };
            let encoded = values::encode(&value);
            for param in route.params() {
                let what = format!("{} {}, {param}: {name}", route.method, route.path);
                let answer = world.send_to(route, &route.at(param, &encoded)).await;
                shows_no_markup(&answer, &what);
                assert!(answer.status.is_client_error(), "{what}: {}", answer.status);
                if route.who != Who::Machine {
                    is_told(&answer, &what);
                }
            }
            for query in route.query {
                let what = format!("{} {}?{query}=: {name}", route.method, route.path);
                let answer = world.send_to(route, &format!("{}?{query}={encoded}", route.good())).await;
                shows_no_markup(&answer, &what);
                if answer.status.is_redirection() {
                    assert!(answer.location().starts_with("/instances"), "{what}: {}", answer.location());
                } else if !answer.status.is_success() {
                    is_told(&answer, &what);
                }
            }
        }
        for query in route.query {
            let what = format!("{} {}?{query}={query}", route.method, route.path);
            let answer = world.send_to(route, &format!("{}?{query}=1&{query}=2", route.good())).await;
            assert!(answer.status.as_u16() < 500, "{what}: {}", answer.status);
        }
    }
    world.nothing_was_executed();
}

#[tokio::test]
async fn a_form_that_is_none_is_refused_everywhere() {
    let mut world = World::new().await;
    let theirs = world.aiko.token.clone().unwrap();
    for route in forms() {
        let path = world.path(route, &route.good());
        let token = world.token(route).await;
        let good = world.good(route).await;
        let good: Vec<_> = good.iter().map(|(name, good)| (*name, &**good)).collect();
        let with = |token: &str| {
            let fields: Vec<_> = [("csrf_token", token)].into_iter().chain(good.iter().copied()).collect();
            encode(&fields)
        };
        let json = r#"{"csrf_token": "x", "name": {"$ne": null}}"#.to_owned();
        let multipart =
            format!("--x\r\nContent-Disposition: form-data; name=\"csrf_token\"\r\n\r\n{token}\r\n--x--\r\n");
        let urlencoded = "application/x-www-form-urlencoded";
        let large = encode(&[("csrf_token", &token), ("description", &"x".repeat(10 << 20))]);
        let mut cases = vec![
            ("no token", urlencoded, encode(&good), 403),
            ("an empty token", urlencoded, with(""), 403),
            ("another one's token", urlencoded, with(&theirs), 403),
            ("no form", urlencoded, "&&&=".to_owned(), 403),
            ("half an escape", urlencoded, "%".to_owned(), 403),
            ("a token that is no text", urlencoded, "csrf_token=%ff%fe".to_owned(), 403),
            ("10 MB", urlencoded, large, 413),
            ("JSON", "application/json", json.clone(), 415),
            ("JSON as a form", urlencoded, json, 403),
            ("multipart", "multipart/form-data; boundary=x", multipart, 415),
            ("text", "text/plain", with(&token), 415),
            ("no type", "", with(&token), 415),
            ("no type that is known", "\u{fffd}", with(&token), 415),
        ];
        if let Some((name, good, _)) = route.fields.first() {
            cases.push(("a field twice", urlencoded, format!("{}&{name}={good}", with(&token)), 422));
        }
        for (name, kind, body, expected) in cases {
            let what = format!("{}: {name}", route.path);
            let answer = world.ask(route, &path, (Some(kind), body.into())).await;
            assert_eq!(answer.status.as_u16(), expected, "{what}: {}", answer.body);
            is_told(&answer, &what);
            shows_no_markup(&answer, &what);
        }
    }
    assert_eq!(world.app.store.instances(None).await.unwrap().len(), 1, "nothing was made");
    assert_eq!(world.app.found("shop1").await.newest.unwrap().number, 1, "nor deployed");
}

#[tokio::test]
async fn what_never_ends_is_cut_off_in_time() {
    let world = World::new().await;
    let kind = Some("application/x-www-form-urlencoded");
    let mut cases = Vec::new();
    for route in forms() {
        cases.extend([
            (route, kind, "hangs", 408),
            (route, kind, "trickles", 408),
            (route, kind, "floods", 413),
        ]);
    }
    for route in ROUTES.iter().filter(|route| route.who == Who::Machine) {
        match (route.method, route.path) {
            // A machine's piece of log that never comes whole is asked for again.
            ("PATCH", "/deployments/{id}/log") => cases.push((route, None, "hangs", 408)),
            ("POST", "/fetches/{id}/failed") => {
                cases.extend([
                    (route, None, "hangs", 408),
                    (route, None, "trickles", 408),
                    (route, None, "floods", 413),
                ]);
            }
            // Its size and its silence are what bound it: a large file takes as long as it takes.
            ("PUT", "/fetches/{id}") => cases.push((route, None, "hangs", 400)),
            ("GET", _) => {}
            other => panic!("what becomes of an endless {other:?}?"),
        }
    }
    // At once, since each takes its time.
    let asking: Vec<_> = cases
        .into_iter()
        .map(|(route, kind, how, expected)| {
            let mut world = world.clone();
            tokio::spawn(async move {
                let token = world.token(route).await;
                let path = world.path(route, &route.good());
                let body = world::endless(how, &format!("csrf_token={token}&name="));
                let answer = world.ask(route, &path, (kind, body)).await;
                assert_eq!(answer.status.as_u16(), expected, "{} {how}: {}", route.path, answer.body);
                if route.who != Who::Machine {
                    is_told(&answer, route.path);
                }
            })
        })
        .collect();
    for asked in asking {
        asked.await.unwrap();
    }
}

#[tokio::test]
async fn a_method_that_a_route_has_not_is_told() {
    let mut world = World::new().await;
    for route in ROUTES {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"] {
            if ROUTES.iter().any(|other| other.path == route.path && other.method == method) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let what = format!("{method} {}", route.path);
            let answer = world.ask_as(method, route, &route.good(), form(String::new())).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{what}");
            if route.who != Who::Machine {
                is_told(&answer, &what);
            }
        }
        let answer = world.ask_as(Method::HEAD, route, &route.good(), form(String::new())).await;
        assert!(answer.status.as_u16() < 500 && answer.body.is_empty(), "HEAD {}", route.path);
    }
}

#[tokio::test]
async fn who_may_not_learns_nothing() {
    let world = World::new().await;
    let mut aiko = world.aiko.clone();
    let nosuch = aiko.get("/instances/nosuch").await.between("<main", "</main>");
    for route in ROUTES {
        let what = format!("{} {}", route.method, route.path);
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let form = || {
            let token = world.aiko.token.clone().unwrap();
            let fields = route.fields.iter().map(|(name, good, _)| (*name, *good));
            form(encode(&[("csrf_token", &*token)].into_iter().chain(fields).collect::<Vec<_>>()))
        };
        if route.path.starts_with("/instances/{name}") {
            let answer = world::ask(&mut aiko, method.clone(), &route.good(), form()).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{what} of another person's");
            is_told(&answer, &what);
            if answer.header("content-type").starts_with("text/html") {
                assert_eq!(answer.between("<main", "</main>"), nosuch, "{what} is as if it were not there");
            }
        }
        if route.who == Who::Admin {
            let answer = world::ask(&mut aiko, method.clone(), &route.good(), form()).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{what} for no admin");
            is_told(&answer, &what);
            if answer.header("content-type").starts_with("text/html") {
                assert_eq!(answer.between("<main", "</main>"), nosuch, "{what} is as if it were not there");
            }
        }
        if matches!(route.who, Who::SignedIn | Who::Admin) {
            let mut visitor = world.app.visitor();
            let answer = world::ask(&mut visitor, method.clone(), &route.good(), form()).await;
            match answer.status.as_u16() {
                303 => assert!(answer.location().starts_with("/login"), "{what}: {}", answer.location()),
                401 | 403 => is_told(&answer, &what),
                status => panic!("{what} for who is not signed in: {status}"),
            }
        }
        if route.who == Who::Machine {
            for token in ["", "Bearer ", "Bearer x", "Basic eDp4", "Bearer \u{fffd}"] {
                let request = world.app.visitor().client.request(method.clone(), world.url_of(route));
                let answer = request
                    .header("authorization", token.as_bytes())
                    .header("upload-offset", "0")
                    .send()
                    .await;
                assert_eq!(answer.unwrap().status(), StatusCode::UNAUTHORIZED, "{what}: {token:?}");
            }
        }
    }
    let found = world.app.found("shop1").await;
    assert_eq!(
        (found.instance.wanted, found.newest.unwrap().number),
        (ec_django_deployer::domain::Wanted::Present, 1)
    );
}

#[tokio::test]
async fn lines_that_are_no_http_are_no_fault() {
    let app = spawn_app().await;
    app.person("root", Role::Admin).await;
    for head in [
        "GET /static/../../etc/passwd HTTP/1.1",
        "GET /static/..%2f..%2fsite.db HTTP/1.1",
        "GET /instances/\u{202e} HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET http://169.254.169.254/latest HTTP/1.1",
        "CONNECT 169.254.169.254:80 HTTP/1.1",
        "TRACE / HTTP/1.1",
        "GET //evil.example/%2e%2e HTTP/1.1",
        "\u{1}\u{2}\u{3}",
    ] {
        let answer =
            world::raw(&app, &format!("{head}\r\nHost: evil.example\r\nConnection: close\r\n\r\n")).await;
        let status: Option<u16> = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        // What cannot be read as a request at all is answered with a status alone, or not.
        assert!(status.is_none_or(|status| (300..500).contains(&status)), "{head:?}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("SQLite format"), "{head:?}: {answer}");
        assert!(!answer.to_lowercase().contains("location: //"), "{head:?}: {answer}");
    }
}

#[tokio::test]
async fn no_path_query_or_cookie_makes_a_fault() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    mira.deploy("shop1").await;
    for path in [
        "/instances/%00",
        "/instances/..%2f..",
        "/instances/%ff%fe",
        "/instances/SHOP1",
        "/instances/new/info",
        "/instances/shop1/nosuch",
        "/instances/shop1/deployments/x",
        "/instances/shop1/deployments/99999999999999999999",
        "/instances/shop1/deployments/-1",
        "/instances/shop1/log?deployment=%00",
        "/instances/shop1/deployments/%ff",
        "/instances/shop1/deployments?before=%00",
        "/instances/shop1/events?from=x",
        "/instances/shop1/events?kind=x&number=x",
        "/static/%2e%2e%2fsite.db",
        "/static/",
        "/login?next=%00",
        "/setup?token[]=x",
        "//example.com//",
        "/instances/new?sample=<script>",
        "/instances/%27/edit",
        "/instances/shop1/data/..%2f..%2fsite.db",
        "/instances/shop1/data/log",
        "/images/1/log",
        "/users/mira/role",
        "/password?token[]=x",
    ] {
        let request = mira.client.request(Method::GET, format!("{}{path}", app.url));
        let cookies: Vec<_> = mira.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let status = request.header("cookie", cookies.join("; ")).send().await.unwrap().status().as_u16();
        assert!(status < 500, "{path}: {status}");
    }
    for cookie in [
        "ec-session=",
        "ec-session=x",
        "ec-session=AAAAAAAAAAAAAAAAAAAAAA",
        "=;;;",
        "ec-door=zz; ec-session=\u{7f}",
    ] {
        let request = mira.client.get(format!("{}/instances", app.url));
        let Ok(value) = reqwest::header::HeaderValue::from_bytes(cookie.as_bytes()) else { continue };
        let status = request.header("cookie", value).send().await.unwrap().status();
        assert_eq!(status, StatusCode::SEE_OTHER, "{cookie}");
    }
    for method in [Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::HEAD] {
        for path in ["/login", "/instances", "/instances/shop1", "/nosuch", "/static/site.js"] {
            let status = mira.request(method.clone(), path).send().await.unwrap().status().as_u16();
            assert!(status < 500, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn what_a_project_and_its_people_write_is_text_everywhere() {
    let app = spawn_app().await;
    let mut mira = app.owner("mira").await;
    let bad = "<img src=x onerror=alert(1)>";
    let fields = [
        ("github_url", crate::helpers::REPO),
        ("project_name", "backend"),
        ("name", "shop1"),
        ("description", bad),
    ];
    assert_eq!(mira.post("/instances/new", &fields).await.location(), "/instances/shop1");
    let deployment = app.deploying("shop1").await;
    app.log(deployment, &format!("{bad}\n::ec step {bad} start\n::ec saw {bad}\n::ec step migrate start\nModuleNotFoundError: No module named 'x'{bad}\nKeyError: '{bad}'\n")).await;
    let (row, _) = app.ids("shop1").await;
    for path in ["/instances", "/instances/shop1", "/instances/shop1/edit", "/instances/shop1/deployments"] {
        mira.get(path).await.has_not("<img");
    }
    let step = Some(ec_django_deployer::domain::Step::Migrate);
    let failure = ec_django_deployer::domain::Failure { step, message: bad.to_owned() };
    app.store.deployment_failed(row, &failure, None).await.unwrap();
    app.store.set_notice(row, Some(bad)).await.unwrap();
    let page = mira.get("/instances/shop1").await;
    page.has_not("<img");
    page.has("&lt;img");
    let mut events = mira.events("/instances/shop1/events", None).await;
    assert!(!events.next().await.unwrap().data.contains("<img"));
    mira.get("/instances/shop1/deployments/1").await.has_not("<img");
}
