//! The database that the settings name, as far as their text tells it.

use super::{
    evaluate::Names,
    modules::Chain,
    python::{self, Line, Token},
};
use crate::domain::Database;

/// The database of the settings: the first module of the chain that names one has the say.
pub(super) fn find(chain: &Chain) -> Database {
    chain.files.iter().find_map(|(_, lines)| named_in(lines)).unwrap_or(Database::Unknown)
}

/// What the owner should know of it.
pub(super) fn warning(database: Database) -> Option<String> {
    let name = match database {
        Database::Sqlite => return None,
        Database::Unknown => {
            let text = "Which database the settings use cannot be told without running them; only SQLite is set up for now.";
            return Some(text.to_owned());
        }
        Database::Postgresql => "PostgreSQL",
        Database::Mysql => "MySQL",
    };
    Some(format!(
        "The settings use {name}, which is not set up on the instance yet: the deployment will probably fail at the step migrate."
    ))
}

/// The database that a module names; none where it does not speak of one.
fn named_in(lines: &[Line]) -> Option<Database> {
    let names = Names::of(lines);
    let mut all = Vec::new();
    let mut default = Vec::new();
    for line in lines {
        let tokens = &line.tokens;
        let within = default_dictionary(tokens);
        for (at, value) in engines(tokens) {
            let database =
                names.text(python::expression(value)).map_or(Database::Unknown, |text| of_engine(&text));
            all.push(database);
            if within.contains(&at) {
                default.push(database);
            }
        }
        let computed =
            tokens.iter().filter_map(Token::name).any(|name| name == "dj_database_url" || name == "db_url");
        let imports = matches!(tokens.first().and_then(Token::name), Some("import" | "from"));
        if (computed && !imports) || is_environ_db(tokens) {
            let database =
                tokens.iter().filter_map(Token::string).find_map(of_url).unwrap_or(Database::Unknown);
            all.push(database);
        }
    }
    let told = if default.is_empty() { all } else { default };
    let (first, rest) = told.split_first()?;
    Some(if rest.iter().all(|other| other == first) { *first } else { Database::Unknown })
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

fn of_engine(engine: &str) -> Database {
    let engine = engine.to_ascii_lowercase();
    if engine.contains("sqlite") || engine.contains("spatialite") {
        Database::Sqlite
    } else if engine.contains("postg") || engine.contains("psycopg") {
        Database::Postgresql
    } else if engine.contains("mysql") || engine.contains("mariadb") {
        Database::Mysql
    } else {
        Database::Unknown
    }
}

/// The database of a URL such as `sqlite:///db.sqlite3`, which these helpers take as default.
fn of_url(text: &str) -> Option<Database> {
    let (scheme, _) = text.split_once(':')?;
    let database = of_engine(scheme);
    (database != Database::Unknown).then_some(database)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

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
    #[case("DATABASES = {'default': {'ENGINE': 'djongo'}}", Database::Unknown)]
    #[case("DATABASES = {'default': dj_database_url.config()}", Database::Unknown)]
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
    #[case("DATABASES['default']['ENGINE'] = 'django.db.backends.mysql'", Database::Mysql)]
    fn engines_are_read(#[case] settings: &str, #[case] database: Database) {
        assert_eq!(named_in(&python::lines(settings)), Some(database));
    }

    #[test]
    fn settings_without_a_database_say_nothing() {
        assert_eq!(named_in(&python::lines("DEBUG = True\nCACHES = {'default': {'BACKEND': 'x'}}")), None);
    }
}
