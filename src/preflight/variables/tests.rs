//! What settings demand, and what it is answered with.

use rstest::rstest;

use super::*;
use crate::{
    domain::{Answer, DatabasePart},
    preflight::{imports, snapshot::Snapshot},
};

fn found(files: &[(&str, &str)]) -> Vec<Demanded> {
    let snapshot = Snapshot::of(files);
    let modules = Modules { snapshot: &snapshot, project: "shop" };
    let chain = modules.chain("shop/config/settings.py");
    demanded(modules, &chain, &imports::read(modules, &chain).loaded)
}

fn names(settings: &str) -> String {
    let found = found(&[("shop/config/settings.py", settings)]);
    found.into_iter().map(|demanded| demanded.name).collect::<Vec<_>>().join(" ")
}

const DECOUPLE: &str = "from decouple import config, Csv\n";
const ENVIRON: &str = "import environ\nenv = environ.Env(DEBUG=(bool, False), CASTED=bool)\n";

#[rstest]
#[case("X = os.environ['A']", "A")]
#[case("from os import environ\nX = environ['A']", "A")]
#[case("X = {'a': os.environ['A'], 'b': [os.environ[\"B\"]]}", "A B")]
#[case("X = os.environ.get('A')", "")]
#[case("X = os.environ.get('A', '').split(',')", "")]
#[case("X = os.environ.get('A').split(',')", "A")]
#[case("X = os.getenv('A').split()", "A")]
#[case("X = int(os.environ.get('A'))", "A")]
#[case("X = int(os.environ.get('A', 5))", "")]
#[case("X = os.environ.get('A') + '/x'", "A")]
#[case("X = 'x/' + os.getenv('A')", "A")]
#[case("X = os.environ.get('A') or 'b'", "")]
#[case("X = json.loads(os.environ.get('A'))", "A")]
#[case("X = os.getenv('A')[0]", "A")]
#[case("X = f\"redis://{os.environ['A']}:{os.environ.get('B')}\"", "A")]
#[case("os.environ['A'] = 'x'\nX = os.environ['A']", "")]
#[case("os.environ.setdefault('A', 'x')\nX = os.environ['A']", "")]
#[case("X = os.environ['A'] == 'yes'", "A")]
#[case("del os.environ['A']", "")]
#[case("DATABASES['default'].update(dj_database_url.config(conn_max_age=600))", "")]
#[case("DATABASES = {'default': dj_database_url.config(default='sqlite:///x')}", "")]
#[case("X = os.environ['A'] if 'A' in os.environ else 'b'", "")]
#[case("def f():\n    return os.environ['A']", "")]
#[case("if False:\n    X = os.environ['A']", "")]
#[case("DEBUG = True\nif not DEBUG:\n    X = os.environ['A']", "")]
#[case("DEBUG = False\nif not DEBUG:\n    X = os.environ['A']", "A")]
#[case("if 'A' in os.environ:\n    X = os.environ['A']", "")]
#[case("if os.getenv('S'):\n    X = os.environ['A']", "")]
#[case("try:\n    X = os.environ['A']\nexcept KeyError:\n    X = 1", "")]
#[case("try:\n    X = os.environ['A']\nexcept KeyError:\n    raise Exit", "A")]
#[case("try:\n    X = os.environ['A']\nexcept ImportError:\n    X = 1", "A")]
#[case("A = os.getenv('A')\nif not A:\n    raise ValueError('A')", "A")]
#[case("A = os.getenv('A')\nif A is None: raise ValueError('A')", "A")]
#[case("A = os.getenv('A')\nif A:\n    B = 1", "")]
#[case("assert os.environ.get('A')", "A")]
#[case("assert 'A' in os.environ, f'{missing}: A'", "A")]
#[case("if 'A' not in os.environ:\n    raise ValueError('A')", "A")]
#[case("if 'A' not in os.environ:\n    os.environ['A'] = 'x'", "")]
#[case("DEBUG = os.environ.get('A').lower() == 'true'", "A")]
#[case("if config('A', default=''):\n    X = os.environ['B']", "")]
#[case("SECRET_KEY = os.environ.get('A')", "A")]
#[case("SECRET_KEY = os.environ.get('A') or 'x'", "")]
#[case("X = os.environ['A']\nY = os.environ['A']", "A")]
#[case("X = os.environ['DJANGO_SETTINGS_MODULE'] + os.environ['HOME']", "")]
#[case("X = os.environ['A\\nB'] + os.environ['$(x)'] + os.environ['']", "")]
#[case("config('A')", "")]
#[case("env('A')", "")]
#[case("if __name__ == '__main__':\n    X = os.environ['A']", "")]
#[case("if TYPE_CHECKING:\n    X = os.environ['A']\nY = os.environ['B']", "B")]
#[case("H = os.getenv('A')\nP = os.getenv('B')\nX = 'redis://' + H + '/0'", "A")]
#[case("H = os.getenv('A')\nX = H.split(',')", "A")]
#[case("H = os.getenv('A')\nif H:\n    X = 'redis://' + H", "")]
#[case("H = os.getenv('A')\nH = H or 'x'\nX = 'redis://' + H", "")]
#[case("H = os.getenv('A')\nX = 'redis://' + H if H else None\nY = x.H + 'a'", "")]
#[case("X = os.getenv('A'", "")]
#[case("X = int(os.getenv('A'", "")]
#[case("SECRET_KEY = os.environ.get('A'", "A")]
#[case("DATABASES = {'default': dj_database_url.config(", "DATABASE_URL")]
#[case("X = 'x/' + os.getenv('A'", "A")]
#[case("X = os.environ['A'] if 'A' in os.environ else os.environ['B']", "B")]
fn plain_python(#[case] settings: &str, #[case] expected: &str) {
    assert_eq!(names(settings), expected, "{settings}");
}

#[rstest]
#[case("X = config('A')", "A")]
#[case("X = config('A', cast=int)", "A")]
#[case("X = config('A', default='x')", "")]
#[case("X = config('A', 'x')", "")]
#[case("X = config('A', cast=Csv(), default='')", "")]
#[case("X = settings.config('A')", "")]
fn decouple(#[case] settings: &str, #[case] expected: &str) {
    assert_eq!(names(&format!("{DECOUPLE}{settings}")), expected, "{settings}");
    let renamed = settings.replace("config(", "e(");
    for module in ["decouple", "prettyconf"] {
        let settings = format!("from {module} import config as e\n{renamed}");
        assert_eq!(names(&settings), expected, "{settings}");
    }
}

#[rstest]
#[case("X = env('A')", "A")]
#[case("X = env('A', default='x')", "")]
#[case("X = env('A', bool)", "A")]
#[case("X = env.str('A')", "A")]
#[case("X = env.bool('A', False)", "")]
#[case("X = env.bool('A', default=False)", "")]
#[case("X = env.list('A')", "A")]
#[case("X = env('DEBUG')", "")]
#[case("X = env('CASTED')", "CASTED")]
#[case("X = {'default': env.db()}", "DATABASE_URL")]
#[case("X = {'default': env.db('DATABASE_URL', default='sqlite:///x')}", "")]
#[case("X = env.cache('A')", "A")]
#[case("env.read_env('.env')", "")]
#[case("X = env('A', 'me@example.org')", "")]
#[case("X = env('A', -1)", "")]
#[case("X = env('A', None)", "")]
#[case("X = env('A', ['x'])", "")]
#[case("X = env('A', ())", "")]
#[case("X = env('A', int)", "A")]
#[case("X = env('A', [int])", "A")]
#[case("X = env('A', bool, False)", "")]
#[case("X = env('A', parse_default=True)", "A")]
fn django_environ(#[case] settings: &str, #[case] expected: &str) {
    assert_eq!(names(&format!("{ENVIRON}{settings}")), expected, "{settings}");
}

#[test]
fn a_function_of_the_project_that_gives_up() {
    let strict = "def need(name):\n    try:\n        return os.environ[name]\n    except KeyError:\n        raise ImproperlyConfigured(name)\n\nX = need('A')\nY = need('B')\n";
    assert_eq!(names(strict), "A B");
    let lenient = "def need(name, default=None):\n    return os.environ.get(name, default)\nX = need('A')\n";
    assert_eq!(names(lenient), "");
}

fn answer(settings: &str) -> Answer {
    let found = found(&[("shop/config/settings.py", settings)]);
    let [one] = &found[..] else { panic!("{settings}: {found:?}") };
    one.answer.clone()
}

fn asked(offer: Option<&str>, secret: bool) -> Answer {
    Answer::Asked { offer: offer.map(str::to_owned), secret }
}

fn text(text: &str) -> Answer {
    Answer::Text { text: text.to_owned() }
}

#[rstest]
#[case("SECRET_KEY = os.environ['ANYTHING']", Answer::Secret)]
#[case("X = os.environ['DJANGO_SECRET_KEY']", Answer::Secret)]
#[case("X = os.environ['JWT_SECRET']", Answer::Secret)]
#[case("X = os.environ['STRIPE_SECRET_KEY']", asked(None, true))]
#[case("X = os.environ['STRIPE_API_KEY']", asked(None, true))]
#[case("X = os.environ['SENTRY_DSN']", asked(None, true))]
#[case("X = os.environ['COMPANY']", asked(None, false))]
#[case("DEBUG = os.environ['ANYTHING'] == 'True'", text("False"))]
#[case("DEBUG = int(os.environ['DEBUG'])", text("0"))]
#[case("DEBUG = bool(int(os.environ['DEBUG']))", text("0"))]
#[case("ALLOWED_HOSTS = os.environ['X'].split(',')", Answer::Address)]
#[case("ALLOWED_HOSTS = json.loads(os.environ['X'])", text("[]"))]
#[case("X = [os.environ['DJANGO_ALLOWED_HOSTS']]", Answer::Address)]
#[case("X = os.environ['HOST']", Answer::Address)]
#[case("X = os.environ['SITE_URL']", asked(None, false))]
#[case("X = os.environ['FRONTEND_BASE_URL']", asked(None, false))]
#[case("X = os.environ['LOGIN_REDIRECT_URL']", asked(None, false))]
#[case("X = os.environ['URL']", asked(None, false))]
#[case("X = os.environ['MEDIA_URL']", asked(Some("/media/"), false))]
#[case("X = os.environ['MONGO_URI']", asked(None, true))]
#[case("X = os.environ['CLOUDINARY_URL']", asked(None, true))]
#[case("X = os.environ['AMQP_URL']", asked(None, true))]
#[case("X = os.environ['STRIPESECRETKEY']", asked(None, true))]
#[case("X = os.environ['MAPSAPIKEY']", asked(None, true))]
#[case("X = os.environ['BOTTOKEN']", asked(None, true))]
#[case("X = os.environ['MAILPASSWORD']", asked(None, true))]
#[case("X = os.environ['ENVIRONMENT']", asked(Some("production"), false))]
#[case("X = os.environ['DJANGO_ENV']", asked(Some("production"), false))]
#[case("EMAIL_HOST = os.environ['EMAIL_HOST']", asked(Some("localhost"), false))]
#[case("X = os.environ['EMAIL_HOST_PASSWORD']", asked(None, true))]
#[case("EMAIL_PORT = int(os.environ['EMAIL_PORT'])", asked(Some("25"), false))]
#[case("X = int(os.environ['ENVIRONMENT'])", asked(None, false))]
#[case("X = os.environ['REDIS_URL']", asked(Some("redis://localhost:6379/0"), false))]
#[case("X = os.environ['REDIS_HOST']", asked(Some("localhost"), false))]
#[case("from decouple import config\nX = config('EMAIL_USE_TLS', cast=bool)", asked(Some("False"), false))]
fn answers(#[case] settings: &str, #[case] expected: Answer) {
    assert_eq!(answer(settings), expected, "{settings}");
}

#[rstest]
#[case("X = os.environ['DATABASE_URL']", DatabasePart::Url)]
#[case("DATABASES = {'default': dj_database_url.config(conn_max_age=600)}", DatabasePart::Url)]
#[case("DATABASES['default'] = dj_database_url.config()", DatabasePart::Url)]
#[case("DATABASES = {'default': dj_database_url.parse(os.environ.get('HEROKU'))}", DatabasePart::Url)]
#[case("import environ\nenv = environ.Env()\nDATABASES = {'default': env.db('ANYTHING')}", DatabasePart::Url)]
#[case("X = os.environ['POSTGRES_DB']", DatabasePart::Name)]
#[case("X = os.environ['MYSQL_DATABASE']", DatabasePart::Name)]
#[case("X = os.environ['DB_NAME']", DatabasePart::Name)]
#[case("X = os.environ['RDS_DB_NAME']", DatabasePart::Name)]
#[case("X = os.environ['PGUSER']", DatabasePart::User)]
#[case("X = os.environ['DB_PASSWORD']", DatabasePart::Password)]
#[case("X = os.environ['DATABASE_HOST']", DatabasePart::Host)]
#[case("X = int(os.environ['DB_PORT'])", DatabasePart::Port)]
#[case("X = os.environ['SQL_ENGINE']", DatabasePart::Engine)]
#[case("DATABASES = {'default': {'NAME': os.environ['ANYTHING']}}", DatabasePart::Name)]
#[case("DATABASES = {'default': {'HOST': str(os.environ['ANYTHING'])}}", DatabasePart::Host)]
#[case("DATABASES = {'default': dict(PORT=int(os.environ['ANYTHING']))}", DatabasePart::Port)]
#[case("DATABASES['default']['PASSWORD'] = os.environ['ANYTHING']", DatabasePart::Password)]
#[case("DATABASES = {'default': {'ENGINE': os.environ.get('ANYTHING')}}", DatabasePart::Engine)]
fn parts_of_the_database(#[case] settings: &str, #[case] part: DatabasePart) {
    assert_eq!(answer(settings), Answer::Database { part }, "{settings}");
}

#[test]
fn the_place_is_told_to_the_line() {
    let found = found(&[(
        "shop/config/settings.py",
        "import os\nX = {\n    'a': 1,\n    'b': os.environ['A'],\n}\nY = '''\n\n'''\nZ = os.environ['B']\n",
    )]);
    let places: Vec<_> = found
        .iter()
        .map(|demanded| (demanded.name.as_str(), demanded.file.as_str(), demanded.line))
        .collect();
    assert_eq!(places, [("A", "shop/config/settings.py", 4), ("B", "shop/config/settings.py", 9)]);
}

#[test]
fn what_else_a_server_loads_is_read_too() {
    let found = found(&[
        (
            "shop/config/settings.py",
            "from config.base import *\nfrom keys import KEY\nROOT_URLCONF = 'config.urls'\n",
        ),
        ("shop/config/base.py", "X = os.environ['A']"),
        ("keys.py", "KEY = os.environ['B']"),
        ("shop/config/urls.py", "from blog import views"),
        ("shop/blog/views.py", "client = Client(os.environ['C_API_KEY'])"),
        ("shop/scrape.py", "X = os.environ['D']"),
        ("shop/manage.py", "X = os.environ['E']"),
    ]);
    let mut names: Vec<_> =
        found.iter().map(|demanded| (demanded.name.as_str(), demanded.file.as_str())).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            ("A", "shop/config/base.py"),
            ("B", "keys.py"),
            ("C_API_KEY", "shop/blog/views.py"),
            ("E", "shop/manage.py")
        ]
    );
}

#[rstest]
#[case("shop/.env", "A=1\nexport B = 'x'\n# C=2\n", "C")]
#[case(".env", "A=1", "B C")]
#[case("shop/config/.env", "A=\nB=\nC=", "")]
#[case("shop/.env.example", "A=1", "A B C")]
#[case("other/.env", "A=1", "A B C")]
fn a_committed_env_file_that_is_read_gives_what_is_in_it(
    #[case] path: &str,
    #[case] env: &str,
    #[case] expected: &str,
) {
    let settings = format!("{DECOUPLE}X = config('A'), config('B'), config('C')\n");
    let found = found(&[("shop/config/settings.py", &settings), (path, env)]);
    let found: Vec<_> = found.into_iter().map(|demanded| demanded.name).collect();
    assert_eq!(found.join(" "), expected);
}

#[test]
fn an_env_file_that_nobody_reads_gives_nothing_and_one_that_is_named_is_read() {
    let env = ("shop/.env", "A=1");
    assert_eq!(found(&[("shop/config/settings.py", "X = os.environ['A']"), env]).len(), 1);
    let named =
        "from dotenv import load_dotenv\nload_dotenv(BASE / 'deploy' / 'prod.env')\nX = os.environ['A']";
    assert!(found(&[("shop/config/settings.py", named), ("shop/deploy/prod.env", "A=1")]).is_empty());
}

#[test]
fn what_an_example_shows_is_offered() {
    let example =
        "COMPANY=\"Bits & Co\" # its name\nPAGES=twelve\nSITE=https://your-site.com\nAPI_TOKEN=abc\n";
    let settings =
        "X = [os.environ['COMPANY'], int(os.environ['PAGES']), os.environ['SITE'], os.environ['API_TOKEN']]";
    let found = found(&[("shop/config/settings.py", settings), (".env.example", example)]);
    let answers: Vec<_> = found.into_iter().map(|demanded| demanded.answer).collect();
    assert_eq!(
        answers,
        [asked(Some("Bits & Co"), false), asked(None, false), asked(None, false), asked(None, true)]
    );
}

#[test]
fn there_are_at_most_sixty() {
    let settings: String = (0..5000).map(|n| format!("X{n} = os.environ['V{n}']\n")).collect();
    assert_eq!(found(&[("shop/config/settings.py", &settings)]).len(), MOST);
}
