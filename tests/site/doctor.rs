//! `ec-deployer doctor` as somebody without rights runs it. As root it is among the tests of machines.

use std::{net::TcpListener, process::Output};

use crate::program::{free_port, place, program};

fn lines(output: &Output) -> Vec<String> {
    String::from_utf8(output.stdout.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn without_root_it_says_so_and_how_to_do_better() {
    let place = place();
    let output = program(place.path())
        .arg("doctor")
        .env("LISTEN", format!("127.0.0.1:{}", free_port()))
        .env("GIT_HOSTS", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let lines = lines(&output);
    assert_eq!(output.status.code(), Some(1), "{lines:#?}\n{}", String::from_utf8_lossy(&output.stderr));
    let (sum, findings) = lines.split_last().unwrap();
    let mut counts = [0; 3];
    for line in findings {
        let kind = ["ok   ", "warn ", "bad  "].iter().position(|kind| line.starts_with(kind));
        let kind = kind.unwrap_or_else(|| panic!("{line:?} is no finding"));
        counts[kind] += 1;
        assert_eq!(kind > 0, line.contains(". Cure: "), "{line}");
    }
    let [ok, warn, bad] = counts;
    assert_eq!(*sum, format!("{ok} ok, {warn} to look at, {bad} bad"));
    let has =
        |start: &str| assert!(lines.iter().any(|line| line.starts_with(start)), "{start:?} in {lines:#?}");
    has("bad  not root, which local machines need. Cure: ");
    has("warn DNS and the way out of a machine: not looked at, which takes root. Cure: ");
    has("ok   no site runs on this state directory");
    has("ok   Linux ");
    has("ok   git ");
    // It leaves nothing behind.
    assert!(!place.path().join("state").exists());
}

#[test]
fn a_port_that_another_program_has_is_named() {
    let place = place();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let output = program(place.path()).arg("doctor").env("LISTEN", address.to_string()).output().unwrap();
    let line = format!("bad  LISTEN: another program listens on {address}. Cure: ");
    assert!(lines(&output).iter().any(|found| found.starts_with(&line)), "{:#?}", lines(&output));
}

#[tokio::test]
async fn a_site_that_runs_is_seen_and_not_disturbed() {
    let site = crate::program::Program::serve(&[]).await;
    let output = site.command().arg("doctor").output().unwrap();
    let lines = lines(&output);
    let has =
        |start: &str| assert!(lines.iter().any(|line| line.starts_with(start)), "{start:?} in {lines:#?}");
    has("ok   a site runs on this state directory: process ");
    has("ok   LISTEN: the site listens on 127.0.0.1:");
    let answer = reqwest::get(format!("{}/healthz", site.url)).await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[test]
fn settings_that_do_not_go_together_are_told() {
    let place = place();
    let output = program(place.path()).arg("doctor").env("LISTEN", "stdin").output().unwrap();
    let lines = lines(&output);
    let told = |start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(told("bad  LISTEN=stdin needs PUBLIC_URL"), "{lines:#?}");
    assert!(told(&format!("ok   this is version {}", ec_django_deployer::VERSION)), "{lines:#?}");
    assert!(!told("ok   LISTEN"), "nobody knows where: {lines:#?}");
}
