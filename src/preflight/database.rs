//! The database that the settings name, as far as their text tells it.

use super::{
    conditions,
    evaluate::{Names, Value},
    modules::Chain,
    python::{self, Line, Token},
    text::one_line,
};
use crate::domain::Database;

/// How much of an engine's name is shown, in characters.
const SHOWN: usize = 60;

/// The database of the settings, and what the owner should know of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub database: Database,
    pub warning: Option<String>,
}

/// Engines of one line.
const ENGINES: usize = 50;

/// What a place in the settings names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Engine(Database),
    /// One that variables name, and where these are not set nothing does.
    Asked,
    /// One that is not set up on an instance.
    Other(String),
    Computed,
}

/// The database of the settings: the first module of the chain that names one has the say. Where variables are to name it,
/// it is the one for which there is a driver among `packages`, which are named as the index compares them.
pub(super) fn find(chain: &Chain, packages: &[String]) -> Found {
    let names = chain.names();
    let named = chain.files.iter().find_map(|(_, lines)| named_in(lines, &names));
    let database = match &named {
        Some(Named::Engine(database)) => *database,
        Some(Named::Asked) => by_driver(packages),
        Some(Named::Other(_) | Named::Computed) | None => Database::Unknown,
    };
    let warning = match named {
        Some(Named::Other(engine)) => Some(format!(
            "The settings use the database engine `{}`, which is not set up on an instance: choose SQLite, PostgreSQL or MySQL in its place, or the deployment will probably fail.",
            one_line(&engine.replace('`', "'"), SHOWN)
        )),
        _ => None,
    };
    Found { database, warning }
}

/// The database that a driver among the packages is for; SQLite needs none.
fn by_driver(packages: &[String]) -> Database {
    let has = |names: &[&str]| packages.iter().any(|package| names.contains(&package.as_str()));
    if has(&["psycopg", "psycopg2", "psycopg2-binary", "psycopg-binary", "psycopg-c"]) {
        Database::Postgresql
    } else if has(&["mysqlclient", "pymysql", "mysql-connector-python"]) {
        Database::Mysql
    } else {
        Database::Sqlite
    }
}

/// The database that a module names; none where it does not speak of one.
fn named_in(lines: &[Line], names: &Names) -> Option<Named> {
    let dead = conditions::dead(lines, names);
    let mut all = Vec::new();
    let mut default = Vec::new();
    for line in lines.iter().zip(dead).filter_map(|(line, dead)| (!dead).then_some(line)) {
        let tokens = &line.tokens;
        if line.indent == 0
            && matches!(&tokens[..], [Token::Name(name), Token::Op('='), ..] if name == "DATABASES")
        {
            // Whatever was said before.
            all.clear();
            default.clear();
        }
        let within = default_dictionary(tokens);
        for (at, value) in engines(tokens).take(ENGINES) {
            let value = python::expression(value);
            let named = match names.evaluate(value) {
                Value::Text(text) => of_engine(&text),
                Value::Unset => Named::Asked,
                _ if reads_variable(value) => Named::Asked,
                _ => Named::Computed,
            };
            if within.contains(&at) {
                default.push(named.clone());
            }
            all.push(named);
        }
        let computed =
            tokens.iter().filter_map(Token::name).any(|name| name == "dj_database_url" || name == "db_url");
        let imports = matches!(tokens.first().and_then(Token::name), Some("import" | "from"));
        if (computed && !imports) || is_environ_db(tokens) {
            all.push(tokens.iter().filter_map(Token::string).find_map(of_url).unwrap_or(Named::Asked));
        }
    }
    let mut told = if default.is_empty() { all } else { default };
    // What is taken from a variable only where that is set leaves the others.
    if told.iter().any(|named| matches!(named, Named::Engine(_))) {
        told.retain(|named| *named != Named::Asked);
    }
    let (first, rest) = told.split_first()?;
    Some(if rest.iter().all(|other| other == first) { first.clone() } else { Named::Computed })
}

/// Whether an expression reads a variable that has no default.
fn reads_variable(tokens: &[Token]) -> bool {
    let words = ["environ", "getenv", "config", "env"];
    tokens.iter().filter_map(Token::name).any(|name| words.contains(&name))
}

/// The places of `"ENGINE": value`, `["ENGINE"] = value` and `ENGINE=value`, and their values.
fn engines(tokens: &[Token]) -> impl Iterator<Item = (usize, &[Token])> {
    (0..tokens.len()).filter_map(|at| {
        let key = tokens[at].string() == Some("ENGINE");
        let keyword = tokens[at].name() == Some("ENGINE") && at > 0;
        match &tokens[at + 1..] {
            [Token::Op(':'), value @ ..] if key => Some((at, value)),
            [Token::Op(']'), Token::Op('='), value @ ..] if key => Some((at, value)),
            [Token::Op('='), value @ ..] if keyword => Some((at, value)),
            _ => None,
        }
    })
}

/// The tokens between the brackets after `"default":`, or none.
fn default_dictionary(tokens: &[Token]) -> std::ops::Range<usize> {
    let start = tokens.windows(2).position(|pair| pair[0].string() == Some("default") && pair[1].is_op(':'));
    start.map_or(0..0, |start| start + 2..start + 2 + python::expression(&tokens[start + 2..]).len())
}

/// `env.db(…)` of django-environ.
fn is_environ_db(tokens: &[Token]) -> bool {
    tokens.windows(3).any(|three| {
        three[0].name() == Some("env")
            && three[1].is_op('.')
            && matches!(three[2].name(), Some("db" | "db_url"))
    })
}

fn of_engine(engine: &str) -> Named {
    let lower = engine.to_ascii_lowercase();
    Named::Engine(if lower.contains("sqlite") || lower.contains("spatialite") {
        Database::Sqlite
    } else if lower.contains("postg") || lower.contains("psycopg") {
        Database::Postgresql
    } else if lower.contains("mysql") || lower.contains("mariadb") {
        Database::Mysql
    } else if lower.is_empty() || lower.ends_with("dummy") {
        return Named::Asked;
    } else {
        return Named::Other(engine.to_owned());
    })
}

/// The database of a URL such as `sqlite:///db.sqlite3`, which these helpers take as default.
fn of_url(text: &str) -> Option<Named> {
    let (scheme, rest) = text.split_once(':')?;
    match of_engine(scheme) {
        Named::Engine(database) => Some(Named::Engine(database)),
        named => rest.starts_with("//").then_some(named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preflight::{modules::Modules, snapshot::Snapshot};
    use rstest::rstest;

    fn found(settings: &str, packages: &[&str]) -> Found {
        let snapshot = Snapshot::of(&[("shop/settings.py", settings)]);
        let modules = Modules { snapshot: &snapshot, project: "shop" };
        let packages: Vec<_> = packages.iter().map(|name| (*name).to_owned()).collect();
        find(&modules.chain("shop/settings.py"), &packages)
    }

    #[rstest]
    #[case(
        "DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': 'x'}}",
        Database::Sqlite
    )]
    #[case(
        "DATABASES = {\n 'default': {\n  \"ENGINE\": \"django.contrib.gis.db.backends.postgis\" }}",
        Database::Postgresql
    )]
    #[case("DATABASES = {'default': dict(ENGINE='django.db.backends.mysql')}", Database::Mysql)]
    #[case(
        "DATABASES = {'default': {'ENGINE': os.environ.get('E', 'django.db.backends.sqlite3')}}",
        Database::Sqlite
    )]
    #[case(
        "import dj_database_url\nDATABASES = {'default': dj_database_url.config(default=f'sqlite:///{B}/db')}",
        Database::Sqlite
    )]
    #[case(
        "DATABASES = {'default': env.db('DATABASE_URL', default='postgres://u@h/d')}",
        Database::Postgresql
    )]
    #[case(
        "# 'ENGINE': 'django.db.backends.mysql'\nX = {'default': {'ENGINE': 'django.db.backends.sqlite3'}}",
        Database::Sqlite
    )]
    #[case("D = {'default': {'ENGINE': 'x.sqlite3'}, 'old': {'ENGINE': 'x.mysql'}}", Database::Sqlite)]
    #[case(
        "if P:\n  D = {'default': {'ENGINE': 'x.postgresql'}}\nelse:\n  D = {'default': {'ENGINE': 'x.sqlite3'}}",
        Database::Unknown
    )]
    #[case(
        "D = True\nif D:\n  X = {'default': {'ENGINE': 'x.sqlite3'}}\nelse:\n  X = {'default': {'ENGINE': 'x.postgresql'}}",
        Database::Sqlite
    )]
    #[case(
        "X = {'default': {'ENGINE': 'x.sqlite3'}}\nX['default'].update(dj_database_url.config(conn_max_age=5))",
        Database::Sqlite
    )]
    #[case("DATABASES['default']['ENGINE'] = 'django.db.backends.mysql'", Database::Mysql)]
    #[case("DEBUG = True\nCACHES = {'default': {'BACKEND': 'x'}}", Database::Unknown)]
    fn engines_are_read(#[case] settings: &str, #[case] database: Database) {
        assert_eq!(found(settings, &["mysqlclient"]), Found { database, warning: None });
    }

    #[test]
    fn of_a_line_that_names_many_the_first_tell() {
        let line = |count: usize| {
            format!("X = [{} {{'ENGINE': 'x.mysql'}}]", "{'ENGINE': 'x.sqlite3'},".repeat(count))
        };
        assert_eq!(found(&line(ENGINES - 1), &[]).database, Database::Unknown);
        assert_eq!(found(&line(ENGINES), &[]).database, Database::Sqlite);
    }

    #[rstest]
    #[case("DATABASES = {'default': dj_database_url.config()}")]
    #[case("DATABASES = {'default': env.db()}")]
    #[case("DATABASES = {'default': dj_database_url.parse(os.environ['DATABASE_URL'])}")]
    #[case(
        "DATABASES = {'default': {'ENGINE': 'x.sqlite3'}}\nDATABASES = {'default': dj_database_url.parse(os.environ['U'])}"
    )]
    #[case("DATABASES = {'default': {'ENGINE': os.environ['DB_ENGINE']}}")]
    #[case("DATABASES = {'default': {'ENGINE': os.environ.get('DB_ENGINE')}}")]
    fn the_driver_tells_where_variables_are_to(#[case] settings: &str) {
        for (packages, database) in [
            (&["django", "psycopg2-binary"][..], Database::Postgresql),
            (&["django", "pymysql"], Database::Mysql),
            (&["django"], Database::Sqlite),
        ] {
            assert_eq!(found(settings, packages), Found { database, warning: None }, "{settings}");
        }
    }

    #[rstest]
    #[case("DATABASES = {'default': {'ENGINE': 'djongo'}}", "`djongo`")]
    #[case("DATABASES = {'default': {'ENGINE': 'django.db.backends.oracle'}}", "`django.db.backends.oracle`")]
    #[case("DATABASES = {'default': env.db(default='mssql://u@h/d')}", "`mssql`")]
    fn others_are_told(#[case] settings: &str, #[case] engine: &str) {
        let found = found(settings, &[]);
        assert_eq!(found.database, Database::Unknown);
        assert!(found.warning.as_ref().is_some_and(|warning| warning.contains(engine)), "{found:?}");
    }
}
