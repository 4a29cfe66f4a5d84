//! What a machine does by itself, and what is asked of it beside its deployments.

use super::*;

#[test]
fn a_reboot_is_sent_and_then_awaited() {
    let mut work = Work { serving: Some(deployment(1, "")), ..work(Status::Live) };
    work.instance.reboot = Some(Reboot::Asked);
    assert_eq!(decide(&work, &machine(MachineState::Running), &after(1)), Action::Reboot);
    // Cut short between off and on, where a reboot is both.
    work.instance.public_ip = None;
    assert_eq!(decide(&work, &machine(MachineState::Stopped), &after(1)), Action::Reboot);
    work.instance.public_ip = Some(IP);
    work.instance.status = Status::Starting;
    work.instance.reboot = Some(Reboot::Sent(START));
    assert_eq!(decide(&work, &machine(MachineState::Running), &after(2)), Action::Wait(SOON));
    assert_eq!(
        decide(&work, &machine(MachineState::Running), &after(REBOOT_SECONDS + 1)),
        Action::AwaitAnswer
    );
}

#[test]
fn what_the_cloud_never_shows_has_failed_and_what_it_showed_is_gone() {
    let booting =
        Work { running: Some(running("")), attempt: Some(attempt(true, true)), ..work(Status::Booting) };
    assert!(matches!(decide(&booting, &Seen::Nothing, &after(1)), Action::Lost(_)));
    let reported = Work { running: Some(running("::ec step clone start\n")), ..booting.clone() };
    assert!(matches!(decide(&reported, &Seen::Nothing, &after(1)), Action::Gone(_)));
    assert!(matches!(decide(&booting, &Seen::Unknown, &after(1)), Action::Wait(_)), "it may still appear");
}

#[test]
fn a_launch_that_the_cloud_undid_has_failed_in_its_words() {
    let booting =
        Work { running: Some(running("")), attempt: Some(attempt(true, true)), ..work(Status::Booting) };
    let Seen::Machine(there) = machine(MachineState::Terminated) else { unreachable!() };
    let undone =
        Seen::Machine(Machine { reason: Some("Client.VolumeLimitExceeded".into()), ..there.clone() });
    let Action::Lost(failure) = decide(&booting, &undone, &after(1)) else { panic!() };
    assert!(failure.message.contains("Client.VolumeLimitExceeded"), "{failure:?}");
    assert!(matches!(decide(&booting, &Seen::Machine(there), &after(1)), Action::Gone(_)), "a person did it");
    assert!(matches!(decide(&work(Status::Live), &undone, &after(1)), Action::Gone(_)), "it was up");
}

#[test]
fn a_running_machine_without_a_public_ip_has_failed_after_a_while() {
    let mut booting = Work { running: Some(running("")), ..work(Status::Booting) };
    booting.instance.public_ip = None;
    let Seen::Machine(there) = machine(MachineState::Running) else { unreachable!() };
    let seen = Seen::Machine(Machine { public_ip: None, ..there });
    assert!(matches!(decide(&booting, &seen, &after(ADDRESS_SECONDS)), Action::Wait(_)));
    let Action::Fail(failure) = decide(&booting, &seen, &after(ADDRESS_SECONDS + 1)) else { panic!() };
    assert!(failure.message.contains("ELASTIC_IP"), "{failure:?}");
}

#[test]
fn a_new_machine_gets_the_address_that_it_keeps_once() {
    let around = Around { gives_addresses: true, ..after(1) };
    let mut booting =
        Work { running: Some(running("")), attempt: Some(attempt(true, true)), ..work(Status::Booting) };
    assert_eq!(decide(&booting, &machine(MachineState::Running), &around), Action::GiveAddress);
    assert_ne!(decide(&booting, &machine(MachineState::Pending), &around), Action::GiveAddress);
    assert_ne!(decide(&booting, &machine(MachineState::Running), &after(1)), Action::GiveAddress);
    booting.attempt.as_mut().unwrap().address = Some("eipalloc-1".into());
    assert_ne!(decide(&booting, &machine(MachineState::Running), &around), Action::GiveAddress);
    let live = Work { attempt: Some(attempt(true, true)), ..work(Status::Live) };
    assert_eq!(
        decide(&live, &machine(MachineState::Running), &around),
        Action::Rest,
        "its visitors know the other"
    );
}

#[test]
fn a_machine_on_its_way_out_is_waited_for() {
    let mut leaving = work(Status::Terminating);
    leaving.instance.wanted = Wanted::Absent;
    assert_eq!(
        decide(&leaving, &machine(MachineState::Running), &after(1)),
        Action::Terminate { gone: false }
    );
    assert_eq!(decide(&leaving, &machine(MachineState::Terminating), &after(1)), Action::Wait(SOON));
    assert_eq!(
        decide(&leaving, &machine(MachineState::Terminated), &after(1)),
        Action::Terminate { gone: true }
    );
    // Somebody else does it.
    assert_eq!(
        decide(&work(Status::Live), &machine(MachineState::Terminating), &after(1)),
        Action::Wait(SOON)
    );
}
