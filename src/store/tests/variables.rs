use super::{deploying, owner, plan, repo, store};
use crate::{
    domain::{
        AdminState, Answer, Demanded, Failure, Plan, RowId, SecretValue, Status, Timestamp, Variable, Vault,
        Wanted,
    },
    store::{Appended, Change, Environment, Store, VariablesError},
};

fn variable(name: &str, value: &str) -> Variable {
    Variable { name: name.parse().unwrap(), value: SecretValue::try_from(value.to_owned()).unwrap() }
}

fn values(environment: &Environment) -> Vec<String> {
    let text = |variable: &Variable| format!("{}={}", variable.name, variable.value.expose());
    environment.variables.iter().map(text).collect()
}

async fn waiting(store: &Store, row: RowId) -> Vec<String> {
    let kept = store.variables(row).await.unwrap();
    kept.into_iter().filter(|variable| variable.waits).map(|variable| variable.name.to_string()).collect()
}

#[tokio::test]
async fn a_change_waits_until_a_machine_was_given_it() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    let mut changes = store.changes();
    assert_eq!(store.set_variables(row, &[variable("A", "one"), variable("B", "two")]).await.unwrap(), 2);
    assert_eq!(changes.recv().await.unwrap(), Change::Notice(row));
    assert_eq!(store.set_variables(row, &[variable("A", "one")]).await.unwrap(), 0);
    assert!(changes.is_empty(), "what is there already is no change");
    assert_eq!(waiting(&store, row).await, ["A", "B"]);
    assert_eq!(values(&store.give_environment(id).await.unwrap()), ["A=one", "B=two"]);
    assert!(waiting(&store, row).await.is_empty());
    // Another value waits; the one that the machine has does not.
    store.set_variables(row, &[variable("A", "other")]).await.unwrap();
    assert_eq!(waiting(&store, row).await, ["A"]);
    store.set_variables(row, &[variable("A", "one")]).await.unwrap();
    assert!(waiting(&store, row).await.is_empty());
    // A removal waits, too; what the machine never had is gone at once.
    assert!(store.remove_variable(row, &"B".parse().unwrap()).await.unwrap());
    assert!(!store.remove_variable(row, &"B".parse().unwrap()).await.unwrap());
    store.set_variables(row, &[variable("C", "three")]).await.unwrap();
    assert!(store.remove_variable(row, &"C".parse().unwrap()).await.unwrap());
    assert_eq!(waiting(&store, row).await, ["B"]);
    assert_eq!(values(&store.give_environment(id).await.unwrap()), ["A=one"]);
    assert_eq!(store.variables(row).await.unwrap().len(), 1);
}

#[tokio::test]
async fn values_are_sealed_at_rest_and_a_lost_key_is_told() {
    let (store, dir) = store().await;
    let store = store.with_vault(Vault::new([1; 32]));
    let (row, id) = deploying(&store).await;
    store.set_variables(row, &[variable("A", "a-value-to-look-for")]).await.unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(19).any(|part| part == b"a-value-to-look-for"));
    }
    let other = store.clone().with_vault(Vault::new([2; 32]));
    let kept = other.variables(row).await.unwrap();
    assert!(kept[0].is_lost && kept[0].is_set && !kept[0].has_value());
    let given = other.give_environment(id).await.unwrap();
    assert!(given.variables.is_empty());
    assert_eq!(given.lost, ["A".parse().unwrap()]);
    assert!(waiting(&other, row).await.is_empty(), "no deployment can bring it");
    // With the key back the machine has not had it yet.
    assert_eq!(waiting(&store, row).await, ["A"]);
    store.give_environment(id).await.unwrap();
    assert!(waiting(&store, row).await.is_empty());
    assert_eq!(other.give_environment(id).await.unwrap().lost.len(), 1);
    assert_eq!(waiting(&store, row).await, ["A"], "the machine has nothing under this name any more");
    let changes = other.changes();
    other.give_environment(id).await.unwrap();
    assert!(changes.is_empty(), "the same again is no change");
    // It is given anew.
    other.set_variables(row, &[variable("A", "anew")]).await.unwrap();
    assert_eq!(values(&other.give_environment(id).await.unwrap()), ["A=anew"]);
}

#[tokio::test]
async fn more_than_an_instance_may_have_is_refused_as_a_whole() {
    let (store, _dir) = store().await;
    let (row, _) = deploying(&store).await;
    let many: Vec<_> = (0..101).map(|n| variable(&format!("V{n}"), "x")).collect();
    assert!(matches!(store.set_variables(row, &many).await, Err(VariablesError::TooMany)));
    assert!(store.variables(row).await.unwrap().is_empty());
    assert_eq!(store.set_variables(row, &many[..100]).await.unwrap(), 100);
    let large = "x".repeat(32 * 1024);
    let large: Vec<_> = (0..9).map(|n| variable(&format!("V{n}"), &large)).collect();
    assert!(matches!(store.set_variables(row, &large).await, Err(VariablesError::TooLarge)));
    assert_eq!(store.set_variables(row, &large[..7]).await.unwrap(), 7);
}

#[tokio::test]
async fn secrets_are_masked_in_the_log_and_what_may_begin_one_comes_again() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    store.set_variables(row, &[variable("TOKEN", "hunter2-hunter2")]).await.unwrap();
    let log = b"token hunter2-hunter2 and hunter2-";
    assert_eq!(store.append_log(id, 0, log).await.unwrap(), Appended::Taken(26));
    assert_eq!(store.append_log(id, 26, b"hunter2-").await.unwrap(), Appended::Taken(26));
    assert_eq!(
        store.append_log(id, 26, b"hunter2-hunter2\n::ec saw hunter2-hunter2\n").await.unwrap(),
        Appended::Taken(67)
    );
    let stored = String::from_utf8(store.log(id, 0, 1000).await.unwrap()).unwrap();
    assert_eq!(stored, "token *************** and ***************\n::ec saw ***************\n");
    assert_eq!(store.deployment(id).await.unwrap().unwrap().report.saw(), ["***************"]);
    // The end of a log is its end.
    assert_eq!(
        store.append_log(id, 67, b"::ec step clone failed 1\nhunter2-").await.unwrap(),
        Appended::Taken(100)
    );
    let stored = String::from_utf8(store.log(id, 67, 1000).await.unwrap()).unwrap();
    assert_eq!(stored, "::ec step clone failed 1\n********");
    // What the machine still has is masked after it was changed here.
    store.give_environment(id).await.unwrap();
    store.set_variables(row, &[variable("TOKEN", "another-one")]).await.unwrap();
    assert_eq!(store.append_log(id, 100, b"\nhunter2-hunter2\n").await.unwrap(), Appended::Taken(117));
    assert!(!String::from_utf8(store.log(id, 0, 1000).await.unwrap()).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn what_is_no_secret_stays_in_the_log() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    let values = [
        ("STATIC_URL", "/static/"),
        ("ADMIN_URL", "office/"),
        ("SITE_NAME", "bookshelf"),
        ("DB_PASSWORD", "config.settings"),
        ("MODE", "settings"),
        ("API_KEY", "bookshop"),
    ];
    let values = values.map(|(name, value)| variable(name, value));
    store.set_variables(row, &values).await.unwrap();
    let log = "/static/ office/ bookshelf config.settings bookshop\n";
    store.append_log(id, 0, log.as_bytes()).await.unwrap();
    let stored = String::from_utf8(store.log(id, 0, 1000).await.unwrap()).unwrap();
    assert_eq!(stored, "/static/ office/ bookshelf config.settings ********\n");
}

#[tokio::test]
async fn what_the_settings_were_offered_stays_in_the_log() {
    let (store, _dir) = store().await;
    let (row, first) = deploying(&store).await;
    store
        .set_variables(row, &[variable("MAILER", "Mail-Service-7"), variable("MAIL_KEY", "open-sesame-1")])
        .await
        .unwrap();
    store.append_log(first, 0, b"Mail-Service-7 open-sesame-1\n").await.unwrap();
    let masked = b"************** *************\n";
    assert_eq!(store.log(first, 0, 1000).await.unwrap(), masked);
    store.deployment_live(row, first, None).await.unwrap();
    let asked = |name: &str, offer: &str, secret| Demanded {
        name: name.to_owned(),
        file: "config/settings.py".to_owned(),
        line: 1,
        answer: Answer::Asked { offer: Some(offer.to_owned()), secret },
    };
    let variables = vec![asked("MAILER", "Mail-Service-7", false), asked("MAIL_KEY", "open-sesame-1", true)];
    let (plan, by) = (Plan { variables, ..plan('b') }, owner(&store, "root").await.id);
    let second = store.redeploy(row, &repo(), &plan, by, Timestamp::now()).await.unwrap();
    store.begin_deployment(row, second).await.unwrap();
    store.append_log(second, 0, b"Mail-Service-7 open-sesame-1\n").await.unwrap();
    assert_eq!(store.log(second, 0, 1000).await.unwrap(), b"Mail-Service-7 *************\n");
}

#[tokio::test]
async fn an_admin_of_a_deployment_that_failed_gives_way_to_another() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    let (mira, aiko) = ("mira".parse().unwrap(), "aiko".parse().unwrap());
    store.want_first_admin(row, &mira).await.unwrap();
    let (_, password) = store.give_first_admin(id).await.unwrap().unwrap();
    store.append_log(id, 0, b"::ec admin created\n").await.unwrap();
    let why = Failure { step: None, message: "boom".into() };
    store.deployment_failed(row, &why, None).await.unwrap();
    assert!(!store.want_first_admin(row, &mira).await.unwrap(), "that one is wanted already");
    let by = owner(&store, "root").await.id;
    let again = store.redeploy(row, &repo(), &plan('b'), by, Timestamp::now()).await.unwrap();
    store.begin_deployment(row, again).await.unwrap();
    let (_, same) = store.give_first_admin(again).await.unwrap().unwrap();
    assert_eq!(same.expose(), password.expose());
    store.append_log(again, 0, b"::ec admin created\n").await.unwrap();
    store.deployment_failed(row, &why, None).await.unwrap();
    assert!(store.want_first_admin(row, &aiko).await.unwrap());
    assert_eq!(store.first_admin(row).await.unwrap().unwrap().name, aiko);
}

#[tokio::test]
async fn an_admin_is_made_by_a_deployment_that_ends_well_and_its_password_is_shown_once() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    let name = "mira".parse().unwrap();
    store.want_first_admin(row, &name).await.unwrap();
    let (given, password) = store.give_first_admin(id).await.unwrap().unwrap();
    assert_eq!(given, name);
    assert!(store.show_first_admin(row).await.unwrap().is_none(), "nothing is made yet");
    let log = format!("::ec admin created\n{}\n", password.expose());
    store.append_log(id, 0, log.as_bytes()).await.unwrap();
    let state = async || store.first_admin(row).await.unwrap().unwrap();
    assert_eq!(state().await.state, AdminState::Wanted, "its deployment may still fail");
    assert!(store.show_first_admin(row).await.unwrap().is_none());
    let stored = String::from_utf8(store.log(id, 0, 1000).await.unwrap()).unwrap();
    assert_eq!(stored, format!("::ec admin created\n{}\n", "*".repeat(20)));
    store.deployment_live(row, id, None).await.unwrap();
    assert_eq!(state().await.state, AdminState::Created);
    assert!(store.want_first_admin(row, &"other".parse().unwrap()).await.is_err());
    assert!(!store.want_first_admin(row, &name).await.unwrap(), "it is there");
    let shown = store.show_first_admin(row).await.unwrap().unwrap();
    assert_eq!(shown.expose(), password.expose());
    assert!(store.show_first_admin(row).await.unwrap().is_none(), "once");
    let admin = state().await;
    assert!(!admin.has_password && admin.shown_at.is_some());
    assert!(store.give_first_admin(id).await.unwrap().is_none());
}

#[tokio::test]
async fn an_admin_goes_with_its_machine() {
    let (store, _dir) = store().await;
    let (row, id) = deploying(&store).await;
    store.want_first_admin(row, &"mira".parse().unwrap()).await.unwrap();
    store.give_first_admin(id).await.unwrap().unwrap();
    store.append_log(id, 0, b"::ec admin created\n").await.unwrap();
    store.deployment_live(row, id, None).await.unwrap();
    assert_eq!(store.first_admin(row).await.unwrap().unwrap().state, AdminState::Created);
    let why = Failure { step: None, message: "gone".into() };
    store.want(row, Wanted::Absent).await.unwrap();
    store.set_status(row, Status::Terminating).await.unwrap();
    store.machine_gone(row, &why).await.unwrap();
    assert!(store.wants_first_admin(row).await.unwrap(), "the next machine has another database");
    assert!(store.show_first_admin(row).await.unwrap().is_none());
}
