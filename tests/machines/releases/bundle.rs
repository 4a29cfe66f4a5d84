//! Bundles, as CodeBuild makes them: the program, `appspec.yml` and `scripts/`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

/// The program of this checkout.
const PROGRAM: &str = env!("CARGO_BIN_EXE_ec-deployer");

/// A migration that the next version has and this one does not.
const MIGRATION: &str = "CREATE TABLE next_version (id INTEGER NOT NULL PRIMARY KEY) STRICT;
ALTER TABLE instances ADD COLUMN next_version INTEGER;
";

/// The commit of the next version.
const COMMIT: &str = "feedfacefeedfacefeedfacefeedfacefeedface";

/// The checkout that is tested.
fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A bundle with this program in it.
pub fn bundle_of(program: &Path) -> TempDir {
    let bundle = tempfile::tempdir().unwrap();
    fs::copy(program, bundle.path().join("ec-deployer")).unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .args([checkout().join("appspec.yml"), checkout().join("scripts")])
        .arg(bundle.path())
        .status()
        .unwrap();
    assert!(copied.success());
    bundle
}

/// A bundle of this checkout.
pub fn bundle() -> TempDir {
    bundle_of(Path::new(PROGRAM))
}

/// A bundle whose program is a script: it does what the real one, which is beside it, does but for what the script
/// says. It is called as scripts are, which AfterInstall makes executable.
pub fn broken(script: &str) -> TempDir {
    let bundle = bundle();
    let program = bundle.path().join("ec-deployer");
    fs::rename(&program, bundle.path().join("scripts/real.sh")).unwrap();
    let text = format!(
        "#!/bin/bash\nreal=$(dirname \"$0\")/scripts/real.sh\n{script}\nexec bash -c 'exec \"$0\" \"$@\"' \"$real\" \"$@\"\n"
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    bundle
}

/// The program of the next version, which has a migration more: really built, from a copy of this checkout, on the
/// dependencies that these tests were built with.
pub fn next_version() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let program = BUILT.get_or_init(|| {
        // On the file system of what these tests were built as, so that names are all that is copied of it.
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("next-version");
        let _ = fs::remove_dir_all(&scratch);
        let source = scratch.join("source");
        let debug = scratch.join("target/debug");
        let built = Path::new(PROGRAM).parent().unwrap();
        let own = r"! -name '*ec_django_deployer*' ! -name 'ec-django-deployer*' ! -name 'ec_deployer*'";
        let script = format!(
            "set -euo pipefail
             mkdir -p \"$2\" && git -c safe.directory='*' -C \"$1\" ls-files -z --cached --others --exclude-standard |
               tar -C \"$1\" --null --files-from=- -c | tar -C \"$2\" -x
             for part in deps build .fingerprint; do
               mkdir -p \"$4/$part\"
               find \"$3/$part\" -mindepth 1 -maxdepth 1 {own} -print0 | xargs -0 cp -al -t \"$4/$part\"
             done"
        );
        let copied = Command::new("bash")
            .args(["-c", &script, "bash"])
            .args([checkout(), &source, built, &debug])
            .status()
            .unwrap();
        assert!(copied.success());
        fs::write(source.join("migrations/9001_next_version.sql"), MIGRATION).unwrap();
        fs::write(source.join("tests/next_version.rs"), "").unwrap();
        // As these tests were built, so that every dependency is as it is wanted.
        let output = Command::new(env!("CARGO"))
            .args(["test", "--locked", "--offline", "--no-run", "--test", "next_version"])
            .current_dir(&source)
            .env("CARGO_TARGET_DIR", scratch.join("target"))
            .env("EC_COMMIT", COMMIT)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        debug.join("ec-deployer")
    });
    program.clone()
}
