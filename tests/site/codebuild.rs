//! What CodeBuild runs besides cargo: the report of the tests, and the check of what the program needs of its server.

use std::{
    fs,
    process::{Command, Output},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_ec-deployer");

/// Runs a script of `scripts/codebuild`.
fn script(interpreter: &str, name: &str, arguments: &[&str]) -> Output {
    let path = format!("{}/scripts/codebuild/{name}", env!("CARGO_MANIFEST_DIR"));
    Command::new(interpreter).arg(path).args(arguments).output().unwrap()
}

/// The report of this log.
fn report(log: &str) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("log"), scratch.path().join("reports/tests.xml"));
    fs::write(&from, log).unwrap();
    let output = script("python3", "junit.py", &[from.to_str().unwrap(), to.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(to).unwrap().replace("><", ">\n<")
}

#[test]
fn a_report_tells_each_test_and_what_a_failed_one_printed() {
    let report = report(
        "   Compiling ec-django-deployer v0.1.0 (/src)
     Running unittests src/lib.rs (/root/target/debug/deps/ec_django_deployer-0123)

running 4 tests
test keys::holds ... ok
test no_group ... ok
test store::gives_up - should panic ... ok
test web::escapes ... FAILED

failures:

---- web::escapes stdout ----
at 'web.rs': \"<a>\" & \u{1b}[31mred\u{1b}[0m\u{0}
test keys::forged ... ok

failures:
    web::escapes

test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.25s

     Running tests/site/main.rs (/root/target/debug/deps/site-0123)

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: 1 target failed:
",
    );
    insta::assert_snapshot!(report, @r#"
    <?xml version='1.0' encoding='utf-8'?>
    <testsuites tests="4" failures="1" errors="0" skipped="0">
    <testsuite name="src/lib.rs" time="0.25" tests="4" failures="1" errors="0" skipped="0">
    <testcase classname="src/lib.rs::keys" name="holds" />
    <testcase classname="src/lib.rs" name="no_group" />
    <testcase classname="src/lib.rs::store" name="gives_up" />
    <testcase classname="src/lib.rs::web" name="escapes">
    <failure message="failed">at 'web.rs': "&lt;a&gt;" &amp; red
    test keys::forged ... ok
    </failure>
    </testcase>
    </testsuite>
    <testsuite name="tests/site/main.rs" time="0.00" tests="0" failures="0" errors="0" skipped="0" />
    </testsuites>
    "#);
}

#[test]
fn a_build_that_broke_is_an_error_in_the_report_and_no_empty_one() {
    let broken = report("error[E0425]: cannot find value `x` in this scope\n --> src/lib.rs:1:1\n");
    insta::assert_snapshot!(broken, @r#"
    <?xml version='1.0' encoding='utf-8'?>
    <testsuites tests="1" failures="0" errors="1" skipped="0">
    <testsuite name="cargo test" time="0" tests="1" failures="0" errors="1" skipped="0">
    <testcase classname="cargo test" name="run">
    <error message="no test ran">error[E0425]: cannot find value `x` in this scope
     --&gt; src/lib.rs:1:1</error>
    </testcase>
    </testsuite>
    </testsuites>
    "#);
    let cut_short = report(
        "     Running unittests src/lib.rs (deps/a-1)\n\nrunning 2 tests\ntest one ... ok\nerror: signal: 9\n",
    );
    insta::assert_snapshot!(cut_short, @r#"
    <?xml version='1.0' encoding='utf-8'?>
    <testsuites tests="2" failures="0" errors="1" skipped="0">
    <testsuite name="src/lib.rs" time="0" tests="2" failures="0" errors="1" skipped="0">
    <testcase classname="src/lib.rs" name="one" />
    <testcase classname="src/lib.rs" name="run">
    <error message="its tests did not come to an end">     Running unittests src/lib.rs (deps/a-1)

    running 2 tests
    test one ... ok
    error: signal: 9</error>
    </testcase>
    </testsuite>
    </testsuites>
    "#);
    // Something wrote into the line.
    let torn = report(
        "     Running unittests src/lib.rs (deps/a-1)\n\nrunning 2 tests\ntest one ... ok\ntest two ... noise\nok\n
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
    );
    insta::assert_snapshot!(torn, @r#"
    <?xml version='1.0' encoding='utf-8'?>
    <testsuites tests="2" failures="0" errors="1" skipped="0">
    <testsuite name="src/lib.rs" time="0.00" tests="2" failures="0" errors="1" skipped="0">
    <testcase classname="src/lib.rs" name="one" />
    <testcase classname="src/lib.rs" name="run">
    <error message="the names of tests could not all be read">passed, failed, ignored: [1, 0, 0] by name, [2, 0, 0] by the result</error>
    </testcase>
    </testsuite>
    </testsuites>
    "#);

    let scratch = tempfile::tempdir().unwrap();
    let to = scratch.path().join("tests.xml");
    let output = script("python3", "junit.py", &["/no/such/log", to.to_str().unwrap()]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("{}: 1 tests, 0 failures, 1 errors\n", to.display())
    );
}

#[test]
fn a_program_that_needs_a_newer_glibc_than_the_server_has_is_refused() {
    let said = |output: &Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let kept = script("bash", "glibc.sh", &[PROGRAM, "9.9"]);
    assert!(kept.status.success(), "{}", said(&kept));
    let sentence = said(&kept);
    let needed = sentence.split("needs glibc ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let (major, minor) = needed.split_once('.').unwrap();
    let minor: u32 = minor.parse().unwrap();
    assert!(major == "2" && minor > 9, "{needed}: by version, not by letter");

    // Exactly what it needs will do, and one less will not.
    assert!(script("bash", "glibc.sh", &[PROGRAM, needed]).status.success());
    let older = format!("2.{}", minor - 1);
    let refused = script("bash", "glibc.sh", &[PROGRAM, &older]);
    assert!(!refused.status.success());
    assert_eq!(
        said(&refused),
        format!(
            "{PROGRAM} needs glibc {needed}, and the server has {older}: build it on what the server runs.\n"
        )
    );

    let no_program =
        script("bash", "glibc.sh", &[concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "2.35"]);
    assert!(!no_program.status.success(), "{}", said(&no_program));
}
