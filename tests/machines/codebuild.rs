//! `buildspec.yml` as CodeBuild runs it: its commands in order, as root, on a clean machine, with a commit's files, and
//! with what its cache keeps from one build to the next.
//!
//! Two things come from this host where in CodeBuild they come over the network: the toolchain, which is at no package
//! registry, and the cache, which here is what this host's own builds have left. Both are below the machine, so that it
//! has them at once and changes nothing of the host's.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use ec_django_deployer::domain::InstanceId;
use serde_json::Value;

use crate::{host::Host, moto, site::lend_images};

const AGENT: &str = include_str!("codebuild/agent.sh");
const PHASES: [&str; 4] = ["install", "pre_build", "build", "post_build"];
/// Longest a build takes on two cores where the cache has nothing.
const BUILD: Duration = Duration::from_secs(55 * 60);
/// What CodeBuild calls the directory of a source, which is another one in each build.
const SOURCE: &str = "/codebuild/output/src1234567890/src";
const OTHER_SOURCE: &str = "/codebuild/output/src0987654321/src";

/// What Python prints, run with this program and this argument.
fn python(program: &str, argument: &Path) -> Value {
    let output = Command::new(moto::python()).arg("-c").arg(program).arg(argument).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// The buildspec.
struct Spec(Value);

impl Spec {
    fn read(source: &Path) -> Self {
        let program = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
        let spec = python(program, &source.join("buildspec.yml"));
        assert_eq!((&spec["version"], &spec["env"]["shell"]), (&Value::from(0.2), &"bash".into()));
        Self(spec)
    }

    /// A phase's commands, those that run whatever happens last.
    fn commands(&self, phase: &str) -> (Vec<String>, Vec<String>) {
        let phase = &self.0["phases"][phase];
        (texts(&phase["commands"]), texts(&phase["finally"]))
    }

    fn variable(&self, name: &str) -> &str {
        self.0["env"]["variables"][name].as_str().expect("a text")
    }

    /// The directory of an artifact or a report, and which of its files are of it.
    fn files<'a>(&'a self, section: &'a Value) -> (&'a str, Vec<String>) {
        (section["base-directory"].as_str().expect("a directory"), texts(&section["files"]))
    }

    /// What the agent runs, of these phases.
    fn script(&self, phases: &[&str]) -> String {
        let mut script = AGENT.to_owned();
        for phase in phases {
            let (commands, last) = self.commands(phase);
            let mut words = vec!["phase".to_owned(), (*phase).to_owned()];
            words.extend(commands);
            words.push("finally".to_owned());
            words.extend(last);
            script += &shell_words::join(words);
            script.push('\n');
        }
        script + "end\n"
    }
}

/// A command that ran.
#[derive(Debug, PartialEq)]
struct Ran {
    phase: String,
    code: i32,
    command: String,
}

/// The machine that builds.
struct Builder<'a> {
    host: &'a Host,
    id: InstanceId,
    /// Its root as the host sees it.
    root: PathBuf,
}

impl Builder<'_> {
    fn path(&self, inside: &str) -> PathBuf {
        self.root.join(inside.trim_start_matches('/'))
    }

    /// Builds phases of the buildspec; gives the commands that ran, whether the build succeeded, and its log.
    async fn build(
        &self,
        spec: &Spec,
        phases: &[&str],
        source: &str,
        commit: &str,
    ) -> (Vec<Ran>, bool, String) {
        let name = source.split('/').nth(3).unwrap();
        let [script, status, log] = ["sh", "status", "log"].map(|kind| format!("/codebuild/{name}.{kind}"));
        fs::write(self.path(&script), spec.script(phases)).unwrap();
        let mut unit = format!(
            "systemd-run --quiet --collect --unit={name} --property=EnvironmentFile=-/etc/environment \
             --property=StandardOutput=file:{log} --property=StandardError=file:{log} "
        );
        let own = [
            ("HOME", "/root"),
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("STATUS", &status),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            (
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "/v2/credentials/00000000-0000-0000-0000-000000000000",
            ),
            ("CODEBUILD_BUILD_ID", "ec-deployer:00000000-0000-0000-0000-000000000000"),
            ("CODEBUILD_BUILD_SUCCEEDING", "1"),
            ("CODEBUILD_INITIATOR", "codepipeline/ec-deployer"),
            ("CODEBUILD_RESOLVED_SOURCE_VERSION", commit),
            ("CODEBUILD_SRC_DIR", source),
        ];
        let variables = spec.0["env"]["variables"].as_object().unwrap();
        let variables =
            variables.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text")));
        for (name, value) in own.into_iter().chain(variables) {
            unit += &format!("--setenv={name}={} ", shell_words::quote(value));
        }
        self.host.exec(&self.id, &format!("{unit} bash {script}")).await;

        let began = Instant::now();
        let said = loop {
            let said = fs::read_to_string(self.path(&status)).unwrap_or_default();
            if said.lines().any(|line| line.starts_with("end\t")) {
                break said;
            }
            let running = self.host.cloud.exec(&self.id, &["systemctl", "is-active", "--quiet", name]).await;
            let running = running.is_ok_and(|output| output.status.success());
            assert!(
                began.elapsed() < BUILD
                    && (running || fs::read_to_string(self.path(&status)).unwrap() != said),
                "the build did not end:\n{said}\n{}",
                fs::read_to_string(self.path(&log)).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        let log = fs::read_to_string(self.path(&log)).unwrap();
        let mut ran = Vec::new();
        let mut succeeded = false;
        for line in said.lines() {
            match line.splitn(4, '\t').collect::<Vec<_>>()[..] {
                [phase, code, seconds, command] => {
                    println!("{phase:>10} {seconds:>4} s, code {code}: {command}");
                    let (phase, command) = (phase.to_owned(), command.to_owned());
                    ran.push(Ran { phase, code: code.parse().unwrap(), command });
                }
                ["end", failed] => succeeded = failed == "0",
                _ => panic!("{line}"),
            }
        }
        (ran, succeeded, log)
    }

    /// The report of the tests: how many there are, how many did not pass, and of which suites.
    fn report(&self, spec: &Spec, source: &str) -> (u64, u64, BTreeSet<String>) {
        let section = &spec.0["reports"]["tests"];
        assert_eq!(section["file-format"], "JUNITXML");
        let (directory, files) = spec.files(section);
        assert_eq!(files.len(), 1, "{files:?}");
        let program = "import json, sys; from xml.etree import ElementTree
root = ElementTree.parse(sys.argv[1]).getroot()
bad = root.findall('.//failure') + root.findall('.//error') + root.findall('.//skipped')
print(json.dumps([len(root.findall('.//testcase')), len(bad), [suite.get('name') for suite in root]]))";
        let report = python(program, &self.path(source).join(directory).join(&files[0]));
        (report[0].as_u64().unwrap(), report[1].as_u64().unwrap(), texts(&report[2]).into_iter().collect())
    }
}

/// Lends a copy of what is on the host, by links where the file system has them.
fn lend(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copy = |how: &str| {
        let _ = fs::remove_dir_all(to);
        Command::new("cp").args([how, "--no-target-directory"]).arg(from).arg(to).output().unwrap()
    };
    if !copy("-al").status.success() {
        let copied = copy("-a");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    }
}

/// Puts the files of this checkout into a directory, as CodePipeline does: without their repository and their modes, and
/// with what is not committed yet.
fn copy_source(to: &Path) {
    fs::create_dir_all(to).unwrap();
    let script = "git -c safe.directory='*' ls-files -z --cached --others --exclude-standard |
        tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory \"$0\" &&
        chmod -R a-x,a+X \"$0\"";
    let status = Command::new("bash").args(["-o", "pipefail", "-c", script]).arg(to).status().unwrap();
    assert!(status.success());
}

/// Puts below the machine what CodeBuild has from elsewhere: the toolchain, the cache, the source.
fn furnish(root: &Path, spec: &Spec) {
    let home = std::env::var_os("HOME").map(PathBuf::from).expect("a home directory");
    let of = |variable: &str, name: &str| {
        std::env::var_os(variable).map_or_else(|| home.join(name), PathBuf::from)
    };
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let cargo = of("CARGO_HOME", ".cargo");
    lend(&cargo.join("bin"), &inside(spec.variable("CARGO_HOME")).join("bin"));
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let toolchain = fs::canonicalize(String::from_utf8(rustc.stdout).unwrap().trim()).unwrap();
    let pinned: toml::Table = toml::from_str(include_str!("../../rust-toolchain.toml")).unwrap();
    let channel = pinned["toolchain"]["channel"].as_str().unwrap();
    let name = format!("{channel}-{}-unknown-linux-gnu", std::env::consts::ARCH);
    lend(&toolchain, &inside("/root/.rustup/toolchains").join(name));
    fs::copy(of("RUSTUP_HOME", ".rustup").join("settings.toml"), inside("/root/.rustup/settings.toml"))
        .unwrap();

    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    lend(&cargo.join("registry"), &inside(spec.variable("CARGO_HOME")).join("registry"));
    for profile in ["debug", "release"] {
        for part in ["deps", "build", ".fingerprint"] {
            let part = Path::new(profile).join(part);
            if target.join(&part).exists() {
                lend(&target.join(&part), &inside(spec.variable("CARGO_TARGET_DIR")).join(part));
            }
        }
    }
    for source in [SOURCE, OTHER_SOURCE] {
        copy_source(&inside(source));
    }
}

/// Every file below a directory, by its path from there.
fn files_below(directory: &Path) -> BTreeSet<String> {
    let found = crate::host::run("find", &[directory.to_str().unwrap(), "-type", "f", "-printf", "%P\n"]);
    found.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_buildspec_makes_a_release_on_a_clean_machine() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let spec = Spec::read(checkout);
    let host = Host::new().await;
    let image = lend_images(&host.config.state_dir);
    furnish(&host.config.state_dir.join("images").join(&image), &spec);
    let machine = host.cloud.launch(&host.request("codebuild", &image, "true")).await.unwrap();
    host.wait_for(&machine.id, "test -e /var/lib/cloud/instance/boot-finished").await;
    let root = host.config.state_dir.join("machines").join(machine.id.as_str()).join("root");
    let builder = Builder { host: &host, id: machine.id, root };
    let commit = crate::host::run("git", &["-c", "safe.directory=*", "rev-parse", "HEAD"]);
    let commit = commit.trim();

    let (ran, succeeded, log) = builder.build(&spec, &PHASES, SOURCE, commit).await;
    let tail =
        log.lines().rev().take(80).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    assert!(succeeded, "{ran:#?}\n{tail}");
    let expected: Vec<_> = PHASES
        .iter()
        .flat_map(|phase| {
            let (commands, last) = spec.commands(phase);
            let all = commands.into_iter().chain(last);
            all.map(|command| Ran { phase: (*phase).to_owned(), code: 0, command }).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(ran, expected);
    let server = spec.variable("SERVER_GLIBC");
    assert!(log.contains(&format!(", and the server has {server}.")), "glibc was not looked at: {tail}");

    // The report tells every test that ran.
    let printed = fs::read_to_string(builder.path(spec.variable("TEST_LOG"))).unwrap();
    let passed = printed.lines().filter_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next());
    let passed: u64 = passed.map(|count| count.parse::<u64>().unwrap()).sum();
    let (tests, bad, suites) = builder.report(&spec, SOURCE);
    println!("{tests} tests in the report");
    assert_eq!((tests, bad), (passed, 0));
    let wanted = ["src/lib.rs", "src/main.rs", "tests/ec2/main.rs", "tests/site/main.rs"];
    assert_eq!(suites, wanted.map(str::to_owned).into());

    // The artifact is what it may be, and the program runs where no toolchain is.
    let (directory, files) = spec.files(&spec.0["artifacts"]);
    assert_eq!(files, ["**/*"]);
    let artifact = builder.path(SOURCE).join(directory);
    let mut bundle: BTreeSet<_> = files_below(&builder.path(SOURCE).join("scripts"))
        .iter()
        .map(|path| format!("scripts/{path}"))
        .collect();
    assert!(bundle.contains("scripts/lib.sh"), "{bundle:?}");
    bundle.extend(["appspec.yml".to_owned(), "ec-deployer".to_owned()]);
    assert_eq!(files_below(&artifact), bundle);
    let program = fs::metadata(artifact.join("ec-deployer")).unwrap();
    println!("the program has {} bytes", program.len());
    assert_eq!(program.permissions().mode() & 0o111, 0o111);
    let version = host.exec(&builder.id, &format!("env -i {SOURCE}/{directory}/ec-deployer --version")).await;
    assert_eq!(version, format!("ec-deployer {}+{}", env!("CARGO_PKG_VERSION"), &commit[..12]));

    // What the cache keeps is others' code alone, where the next build looks for it.
    let target = spec.variable("CARGO_TARGET_DIR");
    let kept = [format!("{}/registry/**/*", spec.variable("CARGO_HOME")), format!("{target}/**/*")];
    assert_eq!(texts(&spec.0["cache"]["paths"]), kept);
    let files = files_below(&builder.path(target));
    assert!(files.iter().any(|path| path.starts_with("release/deps/libaws_sdk_ec2-")), "{}", files.len());
    let own =
        ["ec_django_deployer-", "ec-django-deployer-", "deps/ec_deployer-", "deps/site-", "deps/machines-"];
    let own: Vec<_> = files.iter().filter(|path| own.iter().any(|name| path.contains(name))).collect();
    assert!(own.is_empty(), "{own:?}");
    let key = spec.0["cache"]["key"].as_str().unwrap();
    let hashed = key.split_once("$(codebuild-hash-files ").unwrap().1.strip_suffix(')').unwrap();
    for file in hashed.split(' ') {
        assert!(checkout.join(file).exists(), "{file}");
    }

    a_build_that_breaks_says_so(&builder, &spec, commit).await;
}

/// The next build of what does not compile: it finds the cache from its other directory, and its report says what is
/// wrong though no test ran.
async fn a_build_that_breaks_says_so(builder: &Builder<'_>, spec: &Spec, commit: &str) {
    fs::write(builder.path(OTHER_SOURCE).join("src/lib.rs"), "fn broken( {}\n").unwrap();
    // Of the earlier phases it wants what they set.
    let mut next = Spec(spec.0.clone());
    let install = next.0["phases"]["install"]["commands"].as_array_mut().unwrap();
    install.retain(|command| ["export ", "find "].iter().any(|it| command.as_str().unwrap().starts_with(it)));
    let set = install.len();
    let (ran, succeeded, log) =
        builder.build(&next, &["install", "build", "post_build"], OTHER_SOURCE, commit).await;
    let (_, last) = spec.commands("build");
    let (after, _) = spec.commands("post_build");
    let codes: Vec<_> = ran.iter().map(|ran| (ran.phase.as_str(), ran.code != 0)).collect();
    let mut expected = vec![("install", false); set];
    expected.push(("build", true));
    expected.extend(last.iter().map(|_| ("build", false)));
    expected.extend(after.iter().map(|_| ("post_build", false)));
    assert_eq!(codes, expected, "{log}");
    assert!(!succeeded && log.contains("this file contains an unclosed delimiter"), "{log}");
    let compiled: Vec<_> = log.lines().filter(|line| line.trim_start().starts_with("Compiling ")).collect();
    assert!(compiled.iter().all(|line| line.contains(" ec-django-deployer ")), "{compiled:?}");

    let (tests, bad, suites) = builder.report(spec, OTHER_SOURCE);
    assert_eq!((tests, bad, suites), (1, 1, BTreeSet::from(["cargo test".to_owned()])));
    let (directory, _) = spec.files(&spec.0["artifacts"]);
    assert!(!builder.path(OTHER_SOURCE).join(directory).exists(), "an artifact of a build that failed");
}
