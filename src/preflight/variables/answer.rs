//! What a demanded variable gets where its owner gives it nothing: by what the settings do with it, then by its name.

use super::reads::{Cast, Read};
use crate::{
    domain::{Answer, DatabasePart, names_a_secret},
    preflight::python::Token,
};

/// Where the settings put what a variable gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The setting, where the line assigns one.
    setting: Option<String>,
    /// The key of the setting's dictionary.
    key: Option<String>,
    /// Whether the setting is nothing but this.
    whole: bool,
}

/// What a name's beginning says before what it is about.
const PREFIXES: [&str; 16] = [
    "DJANGO",
    "APP",
    "DEFAULT",
    "DB",
    "DATABASE",
    "POSTGRES",
    "POSTGRESQL",
    "PG",
    "PSQL",
    "MYSQL",
    "MARIADB",
    "SQL",
    "RDS",
    "LOCAL",
    "PROD",
    "PRODUCTION",
];

/// Of these, those that speak of a database.
const OF_DATABASES: [&str; 10] =
    ["DB", "DATABASE", "POSTGRES", "POSTGRESQL", "PG", "PSQL", "MYSQL", "MARIADB", "SQL", "RDS"];

/// Keys that a project signs with for itself: nobody else gives it one.
const OWN_KEYS: [&str; 8] = [
    "SECRET_KEY",
    "DJANGO_SECRET_KEY",
    "DJANGO_SECRET",
    "SECRETKEY",
    "JWT_SECRET_KEY",
    "JWT_SECRET",
    "JWT_SIGNING_KEY",
    "JWT_KEY",
];

/// What stands before `URL` or `URI` where everybody may see it. That of a service mostly holds a user and a password.
const OPEN_PLACES: [&str; 24] = [
    "ADMIN", "API", "APP", "BACKEND", "BASE", "CALLBACK", "CANCEL", "CDN", "CLIENT", "FRONTEND", "HOME",
    "LOGIN", "LOGOUT", "MEDIA", "PUBLIC", "REDIRECT", "RETURN", "ROOT", "SERVER", "SITE", "STATIC",
    "SUCCESS", "WEB", "WEBSITE",
];

/// Values that are offered, by the end of a variable's name. SMTP as a host without one has it, and Django's own defaults.
const OFFERS: [(&str, &str); 24] = [
    ("ENV", "production"),
    ("ENVIRONMENT", "production"),
    ("STAGE", "production"),
    ("EMAIL_BACKEND", "django.core.mail.backends.smtp.EmailBackend"),
    ("EMAIL_HOST", "localhost"),
    ("EMAIL_PORT", "25"),
    ("SMTP_HOST", "localhost"),
    ("SMTP_PORT", "25"),
    ("FROM_EMAIL", "webmaster@localhost"),
    ("SERVER_EMAIL", "root@localhost"),
    ("TIME_ZONE", "UTC"),
    ("TIMEZONE", "UTC"),
    ("TZ", "UTC"),
    ("LANGUAGE_CODE", "en-us"),
    ("LOG_LEVEL", "INFO"),
    ("LOGLEVEL", "INFO"),
    ("STATIC_URL", "/static/"),
    ("MEDIA_URL", "/media/"),
    ("ADMIN_URL", "admin/"),
    ("SITE_ID", "1"),
    ("REDIS_HOST", "localhost"),
    ("REDIS_PORT", "6379"),
    ("REDIS_URL", "redis://localhost:6379/0"),
    ("BROKER_URL", "redis://localhost:6379/0"),
];

/// Names of what a visitor types, by their ends.
const ADDRESSES: [&str; 9] = [
    "ALLOWED_HOSTS",
    "ALLOWED_HOST",
    "HOSTS",
    "HOST",
    "HOSTNAME",
    "DOMAIN",
    "DOMAIN_NAME",
    "SERVER_NAME",
    "SERVER_IP",
];

impl Place {
    /// Where a line puts what it reads.
    pub(super) fn of(tokens: &[Token], read: &Read) -> Self {
        let setting = tokens.first().and_then(Token::name).filter(|name| {
            name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
                && matches!(tokens.get(1), Some(Token::Op('=' | ':' | '[' | '+')))
        });
        // Back over `int(` and the like to the key.
        let mut before = &tokens[..read.start];
        while let [rest @ .., Token::Name(_), Token::Op('(')] = before {
            before = rest;
        }
        let key = match before {
            [.., Token::Str { value, .. }, Token::Op(':')] => Some(value.clone()),
            [.., Token::Op('(' | ','), Token::Name(name), Token::Op('=')] => Some(name.clone()),
            [.., Token::Op('['), Token::Str { value, .. }, Token::Op(']'), Token::Op('=')] => {
                Some(value.clone())
            }
            _ => None,
        };
        let whole = setting.is_some() && read.start == 2 && read.end == tokens.len();
        Self { setting: setting.map(str::to_owned), key, whole }
    }

    /// Whether Django needs a value there.
    pub(super) fn is_needed(&self, cast: Cast) -> bool {
        match (self.setting.as_deref(), self.key.as_deref()) {
            (Some("DATABASES"), Some("default")) => cast == Cast::DatabaseUrl,
            (Some("SECRET_KEY"), None) => self.whole,
            (Some("DATABASES"), Some("ENGINE")) => true,
            _ => false,
        }
    }
}

/// What the variable `name` gets, for which the project may show an example.
pub(super) fn of(name: &str, place: &Place, cast: Cast, example: Option<&str>) -> Answer {
    let upper = name.to_ascii_uppercase();
    if cast == Cast::DatabaseUrl {
        return Answer::Database { part: DatabasePart::Url };
    }
    by_setting(place, cast).or_else(|| by_name(&upper, cast)).unwrap_or_else(|| {
        let offered = offer(&upper, cast);
        let secret = names_a_secret(&upper) || (offered.is_none() && is_address_of_service(&upper));
        let fits = |value: &&str| cast != Cast::Number || value.parse::<f64>().is_ok();
        let shown = example.filter(|_| !secret).filter(fits).map(str::to_owned);
        Answer::Asked { offer: offered.or(shown), secret }
    })
}

fn text(text: &str) -> Answer {
    Answer::Text { text: text.to_owned() }
}

/// `False` as the settings will read it.
fn off(cast: Cast) -> Answer {
    match cast {
        Cast::Number => text("0"),
        _ => text("False"),
    }
}

fn address(cast: Cast) -> Answer {
    // The machine's address is allowed in any case; a list in brackets can only be given empty.
    if cast == Cast::Data { text("[]") } else { Answer::Address }
}

fn by_setting(place: &Place, cast: Cast) -> Option<Answer> {
    let part = |key: &str| {
        Some(match key {
            "ENGINE" => DatabasePart::Engine,
            "NAME" => DatabasePart::Name,
            "USER" => DatabasePart::User,
            "PASSWORD" => DatabasePart::Password,
            "HOST" => DatabasePart::Host,
            "PORT" => DatabasePart::Port,
            _ => return None,
        })
    };
    match (place.setting.as_deref()?, place.key.as_deref()) {
        ("DATABASES", Some(key)) => part(key).map(|part| Answer::Database { part }),
        ("SECRET_KEY", None) => Some(Answer::Secret),
        ("DEBUG", None) => Some(off(cast)),
        ("ALLOWED_HOSTS", _) => Some(address(cast)),
        _ => None,
    }
}

fn by_name(name: &str, cast: Cast) -> Option<Answer> {
    if OWN_KEYS.contains(&name) {
        return Some(Answer::Secret);
    }
    if matches!(name, "DEBUG" | "DJANGO_DEBUG" | "APP_DEBUG" | "DEBUG_MODE" | "DEBUG_VALUE" | "IS_DEBUG") {
        return Some(off(cast));
    }
    if let Some(part) = database_part(name) {
        return Some(Answer::Database { part });
    }
    let own = ["DJANGO_", "APP_", "SITE_", "SERVER_", "WEB_", ""];
    if own.iter().filter_map(|prefix| name.strip_prefix(prefix)).any(|rest| ADDRESSES.contains(&rest)) {
        return Some(address(cast));
    }
    match name {
        "CSRF_TRUSTED_ORIGINS" | "DJANGO_CSRF_TRUSTED_ORIGINS" if cast == Cast::Data => Some(text("[]")),
        "CSRF_TRUSTED_ORIGINS" | "DJANGO_CSRF_TRUSTED_ORIGINS" => Some(text("http://localhost")),
        "USER" | "LOGNAME" => Some(text("app")),
        _ => None,
    }
}

/// The part of a database that a name speaks of: `POSTGRES_DB`, `DB_PASSWORD`, `PGUSER`.
fn database_part(name: &str) -> Option<DatabasePart> {
    let spaced = match name.strip_prefix("PG") {
        Some(rest) if !rest.is_empty() && !rest.starts_with('_') => format!("PG_{rest}"),
        _ => name.to_owned(),
    };
    let words: Vec<_> = spaced.split('_').collect();
    let begins = words.iter().take_while(|word| PREFIXES.contains(word)).count();
    let (before, after) = words.split_at(begins);
    if !before.iter().any(|word| OF_DATABASES.contains(word)) {
        return None;
    }
    Some(match (after.join("_").as_str(), before) {
        // Nothing is left: the last word is what it is about.
        ("", [.., "DB" | "DATABASE"]) => DatabasePart::Name,
        ("NAME" | "DBNAME", _) => DatabasePart::Name,
        ("USER" | "USERNAME" | "USER_NAME", _) => DatabasePart::User,
        ("PASSWORD" | "PASS" | "PASSWD" | "PWD" | "USER_PASSWORD", _) => DatabasePart::Password,
        ("HOST" | "HOSTNAME" | "HOST_NAME" | "SERVER", _) => DatabasePart::Host,
        ("PORT", _) => DatabasePart::Port,
        ("ENGINE" | "BACKEND" | "DRIVER", _) => DatabasePart::Engine,
        ("URL" | "URI", _) => DatabasePart::Url,
        _ => return None,
    })
}

fn offer(name: &str, cast: Cast) -> Option<String> {
    let known = OFFERS.iter().find(|(end, _)| {
        name.strip_suffix(end).is_some_and(|before| before.is_empty() || before.ends_with('_'))
    });
    let known = known.map(|(_, value)| *value);
    match cast {
        Cast::Flag => Some("False".to_owned()),
        Cast::Number => known.filter(|value| value.parse::<f64>().is_ok()).map(str::to_owned),
        Cast::Data | Cast::DatabaseUrl => None,
        Cast::Text | Cast::List if name.ends_with("ORIGINS") || name.ends_with("ORIGIN_WHITELIST") => {
            Some("http://localhost".to_owned())
        }
        Cast::Text | Cast::List => known.map(str::to_owned),
    }
}

/// Whether a variable is the address of a service, which is where its password stands: `MONGO_URI`, `AMQP_URL`.
fn is_address_of_service(name: &str) -> bool {
    match name.rsplit_once('_') {
        Some((before, "URL" | "URI")) => {
            let place = before.rsplit('_').next().unwrap_or(before);
            !OPEN_PLACES.contains(&place)
        }
        _ => false,
    }
}
