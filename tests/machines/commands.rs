//! Management commands on a real machine: run once, as a list, by no shell, and ended in time.

use std::time::Duration;

use reqwest::StatusCode;

use crate::{person::Person, repository::Repository, site::Site};

/// Prints what it was called with and what it is, or a great deal, or ends oddly, or does not end.
const GREET: &[u8] = b"import json, os, sys, time

from django.conf import settings
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument('words', nargs='*')

    def handle(self, *args, words, **options):
        if words == ['much']:
            for n in range(50000):
                self.stdout.write('line %06d %s' % (n, 'x' * 88))
            return
        if words == ['odd']:
            print('going')
            sys.exit(3)
        if words == ['sleep']:
            print('sleeping', flush=True)
            time.sleep(300)
        print(json.dumps({'words': words, 'user': os.getuid(), 'stdin': sys.stdin.read(),
                          'settings': os.environ['DJANGO_SETTINGS_MODULE'], 'here': os.path.basename(os.getcwd())}))
        with open(str(settings.MEDIA_ROOT) + '/ran', 'a') as file:
            file.write('once\\n')
";

/// Runs a command and gives what it printed, with its exit code in the last line.
async fn run(mira: &Person, name: &str, command: &str) -> String {
    let page = format!("/instances/{name}/commands");
    let answer = mira.post(&page, &[("command", command)]).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
    ended(mira, name).await
}

/// What the newest command printed, once it has ended.
async fn ended(mira: &Person, name: &str) -> String {
    let page = format!("/instances/{name}/commands");
    for _ in 0..300 {
        if !mira.get(&page).await.text.contains("<progress") {
            let text = mira.get(&format!("{page}.txt")).await;
            assert_eq!(text.status, StatusCode::OK, "{}", mira.get(&page).await.text);
            return text.text;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("it does not end:\n{}", mira.get(&page).await.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_once_as_a_list_of_words_and_by_no_shell() {
    let (mut site, mira) = Site::start("commands").await;
    let repository = Repository::of(&site, "greeter", "tests/machines/projects/plain");
    let settings = repository
        .read("mysite/mysite/settings.py")
        .replace("INSTALLED_APPS = [", "INSTALLED_APPS = [\n    'greeter',");
    repository.commit(
        "Greet",
        &[
            ("mysite/mysite/settings.py", settings.as_bytes()),
            ("mysite/greeter/__init__.py", b""),
            ("mysite/greeter/management/commands/greet.py", GREET),
        ],
    );
    let name = mira.deploy(&repository.url, "mysite").await;
    let id = mira.until(&name, "live", 180).await["instance_id"].as_str().unwrap().to_owned();

    let checked = run(&mira, &name, "python manage.py check").await;
    assert!(
        checked.contains("System check identified no issues") && checked.ends_with("exit 0\n"),
        "{checked}"
    );

    let line = "greet 'two words' \"$(touch /tmp/shell)\" a;b `id` \\\"q\\\" it\\'s 'ümlaut' ''";
    let greeted = run(&mira, &name, line).await;
    let said = greeted.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{greeted}"));
    let said: serde_json::Value = serde_json::from_str(said).unwrap();
    let words =
        serde_json::json!(["two words", "$(touch /tmp/shell)", "a;b", "`id`", "\"q\"", "it's", "ümlaut", ""]);
    assert_eq!(said["words"], words);
    assert_eq!((&said["stdin"], &said["settings"]), (&"".into(), &"ec_overlay".into()), "{said}");
    let app = site.exec(&id, &["id", "-u", "app"]).await;
    assert_eq!(said["user"].to_string(), app.trim(), "not root");
    assert_eq!(site.exec(&id, &["find", "/tmp", "-name", "shell"]).await, "");

    let odd = run(&mira, &name, "greet odd").await;
    assert!(odd.contains("going\n") && odd.ends_with("exit 3\n"), "{odd}");

    let much = run(&mira, &name, "greet much").await;
    assert!(much.contains("line 000000 x") && much.contains("line 049999 x"), "both ends are kept");
    assert!(much.contains("bytes left out here]") && much.len() < 1_100_000, "{}", much.len());

    // A site that is killed in between asks again, and the command is not run again.
    site.exec(&id, &["rm", "-f", "/srv/app/shared/media/ran"]).await;
    mira.post(&format!("/instances/{name}/commands"), &[("command", "greet again")]).await;
    site.kill();
    site.restart();
    let again = ended(&mira, &name).await;
    assert!(again.contains("\"again\"") && again.ends_with("exit 0\n"), "{again}");
    assert_eq!(site.exec(&id, &["cat", "/srv/app/shared/media/ran"]).await, "once\n");
    let left = site.exec(&id, &["bash", "-c", "ls /var/lib/ec-deployer/commands | grep out"]).await;
    assert_eq!(left, "", "what was sent is not kept");

    // One that does not end is ended, with a deadline of two seconds in place of five minutes.
    let late = "import runpy; sys = __import__('sys'); fetch = runpy.run_path('/opt/ec-deployer/fetch.py'); \
                fetch['run'].__globals__['SECONDS'] = 2; line = fetch['AS_APP'] + ['--release', fetch['serving'](), \
                'python', '-m', 'django', 'greet', 'sleep']; sys.stdout.buffer.write(fetch['run'](line))";
    let late = site.exec(&id, &["python3", "-c", late]).await;
    assert!(
        late.starts_with("exit 124\nsleeping\n") && late.contains("took longer than 2 seconds"),
        "{late}"
    );
    assert_eq!(site.exec(&id, &["pgrep", "-f", "gree[t] sleep"]).await, "");

    // While a deployment holds the machine, a command is refused there too.
    let page = format!("/instances/{name}/commands");
    let held = site.exec(&id, &["flock", "/var/lib/ec-deployer/lock", "sleep", "6"]);
    let refused = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        mira.post(&page, &[("command", "check")]).await;
        for _ in 0..100 {
            if !mira.get(&page).await.text.contains("<progress") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        mira.get(&page).await.text
    };
    let (_, page) = tokio::join!(held, refused);
    assert!(page.contains("The machine is busy with a deployment."), "{page}");
}
