//! A hook that is ended from outside, as CodeDeploy's agent ends one that takes too long.

/// In a mount namespace of its own, with logs and locks of its own. The agent signals the whole process group of the
/// hook, who writes its log among it.
const TRIAL: &str = r#"
set -euo pipefail
mount -t tmpfs none /run
mount -t tmpfs none /var/log
cat >/run/slow.sh <<'END'
source "$1/scripts/codedeploy/hook.sh"
slow() { echo "it works"; sleep 60; }
undo() { echo "it undoes"; sleep 0.5; echo "it has undone"; }
hook slow
END
DEPLOYMENT_ID=d-SLOW setsid bash /run/slow.sh "$1" >/run/said 2>&1 &
hook=$!
until grep -q "it works" /run/said; do sleep 0.05; done
kill -TERM -- "-$hook"
wait "$hook" || echo "ended with $?"
cat /var/log/ec-deployer/site/release-d-SLOW.log
"#;

#[test]
fn a_hook_that_is_ended_puts_back_what_it_did() {
    let said = super::on_this_host(TRIAL);
    for part in ["ended with 143", "it has undone", "::ec step slow failed 143"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}
