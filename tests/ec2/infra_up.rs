//! `scripts/aws-up.sh` and `scripts/aws-down.sh`, end to end, on a person's computer whose AWS is moto.

use std::fs;

use serde_json::json;

use crate::infra_aws::Computer;

/// A stand-in for the program, whose bake leaves an image as the real one does. It says by which settings it was asked.
const BAKES: &str = r#"#!/bin/bash
set -euo pipefail
[[ $1 == bake && $CLOUD == ec2 && -n $STATE_DIR && -n $SUBNET_IDS ]]
echo "bake" >>"$EC_TEST_AWS/bakes"
id=$("$EC_TEST_REAL_AWS" ec2 register-image --name baked --root-device-name /dev/sda1 --query ImageId --output text)
"$EC_TEST_REAL_AWS" ec2 create-tags --resources "$id" \
  --tags Key=ManagedBy,Value=ec-deployer Key=ec-deployer:state,Value=good
"#;

/// The ARN of a report group of the stack's builds, of those that CodeBuild makes.
fn reports(computer: &Computer, name: &str) -> String {
    format!("arn:aws:codebuild:{}:123456789012:report-group/{}-{name}", computer.region, computer.stack)
}

/// How many calls there were that begin so.
fn calls(all: &[String], call: &str) -> usize {
    all.iter().filter(|line| line.starts_with(call)).count()
}

#[test]
fn one_command_sets_the_site_up_and_a_second_changes_nothing() {
    let computer = Computer::with_image();
    let told = computer.up(&["--domain", "deploy.example.com", "--email", "mira@example.com"]).well();
    // It waited for somebody to approve the connection, and said where.
    told.has("https://console.aws.amazon.com/codesuite/settings/connections").has("approved");
    told.has("released").has("sudo ec-deployer user add NAME --admin");
    told.has("session-manager-working-with-install-plugin.html");
    told.has(&format!("has to be {}", computer.of_stack("Outputs", "SiteAddress")));
    let first = computer.calls();
    assert_eq!(calls(&first, "cloudformation create-stack"), 1);
    assert_eq!(
        calls(&first, "codepipeline start-pipeline-execution"),
        1,
        "the first run came before the approval"
    );
    let made = computer.resources();

    computer.program("session-manager-plugin", "#!/bin/sh\n");
    let told = computer.up(&[]).well();
    told.has_not("It waits for you").has("answers at").has_not("install-plugin");
    told.has("nothing is to be changed").has_not("with the settings as they are now");
    assert_eq!(computer.resources(), made);
    let second = computer.calls();
    assert_eq!(calls(&second, "cloudformation create-stack"), 0);
    assert_eq!(calls(&second, "codepipeline start-pipeline-execution"), 0);
    assert_eq!(computer.of_stack("Parameters", "Domain"), "deploy.example.com", "what was said before stays");

    // Another name is a setting, which comes to the server with a release.
    computer.calls();
    computer.up(&["--domain", "shop.example.com"]).well().has("with the settings as they are now");
    assert_eq!(calls(&computer.calls(), "deploy create-deployment"), 1);
    assert_eq!(computer.of_stack("Outputs", "SiteUrl"), "https://shop.example.com");

    // Cut off when the stack has changed and the server does not know, the next run brings it there, and none after it.
    computer.cut("cloudformation update-stack", "after");
    computer.up(&["--domain", "books.example.com"]).ill();
    computer.calls();
    computer.up(&[]).well().has("nothing is to be changed").has("with the settings as they are now");
    computer.up(&[]).well().has_not("with the settings as they are now");
    assert_eq!(calls(&computer.calls(), "deploy create-deployment"), 1);
}

#[test]
fn without_an_image_it_bakes_one_and_one_alone() {
    let computer = Computer::new();
    let program = computer.program("ec-deployer", BAKES);
    computer.cut("cloudformation create-stack", "before");
    computer.up(&["--program", &program]).ill();
    computer.up(&["--program", &program]).well();
    assert_eq!(fs::read_to_string(computer.path("bakes")).unwrap(), "bake\n");
}

#[test]
fn cut_off_it_goes_on_where_it_was() {
    let computer = Computer::with_image();
    for (call, when) in [
        ("cloudformation create-stack", "after"),
        ("codeconnections get-connection", "before"),
        ("codepipeline start-pipeline-execution", "after"),
        ("codepipeline get-pipeline-execution", "before"),
        ("deploy get-deployment-group", "after"),
    ] {
        computer.cut(call, when);
        computer.up(&[]).ill();
        assert_eq!(computer.state()["cut"], json!(null), "{call} was reached");
    }
    let told = computer.up(&[]).well();
    told.has("The site is at");
    let all = computer.calls();
    assert_eq!(calls(&all, "cloudformation create-stack"), 1);
    assert_eq!(calls(&all, "codepipeline start-pipeline-execution"), 1);
    assert_eq!(computer.count(&["ec2", "describe-instances"], "Reservations[].Instances[]"), 1);
}

#[test]
fn what_goes_wrong_is_said_with_its_cure() {
    let computer = Computer::with_image();
    let told = computer.run_as("aws-up.sh", &["o/site"], |command| {
        command.env_remove("AWS_REGION").env_remove("AWS_DEFAULT_REGION");
    });
    told.ill().has("No region is chosen.").has("export AWS_REGION=");
    computer.run("aws-up.sh", &["site"]).ill().has("Which repository").has("owner/name");
    computer.up(&["--colour"]).ill().has("There is no option --colour");
    computer.up(&["--subnet", "subnet-0000000000000000f"]).ill().has("aws ec2 create-default-vpc");
    computer.behave(|state| state["outcome"] = json!("Failed"));
    let told = computer.up(&[]).ill();
    told.has("a test failed").has("Build").has("The release failed.");
    // The next try is a run of its own, and goes well.
    computer.behave(|state| state["outcome"] = json!("Succeeded"));
    computer.up(&[]).well();
}

#[test]
fn another_image_replaces_the_server_and_its_data_stay() {
    let computer = Computer::with_image();
    computer.up(&[]).well();
    let before = computer.resources();
    computer.calls();
    let image = computer.register_image("newer");
    // The newest release has failed, and fails again: the one before it is on the new server all the same.
    computer.behave(|state| {
        state["outcome"] = json!("Failed");
        state["active"] = json!(2);
        let newest = json!({"id": "e-3", "status": "Failed", "looks": 0});
        state["executions"][&computer.stack].as_array_mut().unwrap().push(newest);
    });
    let told = computer.up(&["--image", &image]).ill();
    told.has("Replacing the server").has("waits for the deployment d-active");
    told.has("The release before on the new server").has("The release failed.");
    let after = computer.resources();
    for same in ["DataVolume", "ServerGroup", "Backups", "MachineRole"] {
        assert_eq!(after[same], before[same], "{same}");
    }
    let all = computer.calls();
    let at = |call: &str| all.iter().position(|line| line.contains(call)).unwrap_or_else(|| panic!("{call}"));
    let absent = at("ParameterKey=ServerState,ParameterValue=absent");
    let present = at("ParameterKey=ServerState,ParameterValue=present");
    assert!(at("deploy list-deployments") < at("ec2 stop-instances") && at("ec2 stop-instances") < absent);
    assert!(absent < present && present < at("deploy create-deployment"));
    assert!(at("deploy create-deployment") < at("codepipeline list-pipeline-executions"));
    assert_eq!(calls(&all, "deploy create-deployment"), 1);

    // Once more, and what the release before was made of is not there any more: it is built again.
    computer.behave(|state| {
        state["outcome"] = json!("Succeeded");
        state["expired"] = json!(true);
        state["executions"][&computer.stack][3]["status"] = json!("Succeeded");
    });
    computer.up(&["--image", &before_image(&computer)]).well().has("released");
    assert_eq!(calls(&computer.calls(), "codepipeline start-pipeline-execution"), 1);
    computer.up(&["--image", "ami-0123456789abcdef0"]).ill().has("is not to be had").has("--image newest");
    assert_eq!(calls(&computer.calls(), "ec2 stop-instances"), 0);
}

/// The golden image that a computer began with.
fn before_image(computer: &Computer) -> String {
    let query = ["--query", "Images[?Name=='golden'].ImageId | [0]"];
    let found = computer.aws(&[&["ec2", "describe-images", "--owners", "self"], &query[..]].concat());
    found.as_str().unwrap().to_owned()
}

#[test]
fn a_bake_that_was_cut_off_is_not_repeated() {
    let computer = Computer::with_image();
    let program = computer.program("ec-deployer", BAKES);
    computer.up(&[]).well();
    for (call, when) in [("ec2 stop-instances", "before"), ("cloudformation update-stack", "after")] {
        computer.cut(call, when);
        computer.up(&["--image", "bake", "--program", &program]).ill();
        assert_eq!(computer.state()["cut"], json!(null), "{call} was reached");
    }
    assert_eq!(computer.of_stack("Parameters", "ServerState"), "absent");
    computer
        .up(&["--image", "bake", "--program", &program])
        .well()
        .has("The release before on the new server");
    assert_eq!(fs::read_to_string(computer.path("bakes")).unwrap(), "bake\n");
    // Another one is made once it serves.
    computer.cut("ec2 stop-instances", "before");
    computer.up(&["--image", "bake", "--program", &program]).ill();
    assert_eq!(fs::read_to_string(computer.path("bakes")).unwrap(), "bake\nbake\n");
}

#[test]
fn each_parameter_can_be_set() {
    let computer = Computer::with_image();
    for (pair, said) in [
        ("Size=1", "has no parameter Size"),
        ("ServerType", "wants NAME=VALUE"),
        ("GoldenImage=ami-1", "by --image"),
        ("Zone=a", "by --subnet"),
    ] {
        computer.up(&["--set", pair]).ill().has(said);
    }
    computer.up(&["--set", "ServerType=t3.micro", "--set", "DataGib=30"]).well();
    assert_eq!(computer.of_stack("Parameters", "ServerType"), "t3.micro");
    let server = computer.resources()["Server"].clone();

    let told = computer.up(&["--set", "DataGib=40"]).well();
    told.has_not("Replacing the server").has("with the settings as they are now");
    assert_eq!(computer.of_stack("Parameters", "DataGib"), "40");

    // What CloudFormation makes another server for: first it is refused, and then it is not.
    computer.behave(|state| state["refused"] = json!(true));
    let told = computer.up(&["--set", "ServerDiskGib=24"]).ill();
    told.has("CloudFormation refuses the update").has(&format!("starting {server}"));
    computer.behave(|state| state["refused"] = json!(false));
    let told = computer.up(&["--set", "ServerDiskGib=24"]).well();
    told.has("Replacing the server").has("The release before on the new server");
    assert_eq!(computer.of_stack("Parameters", "ServerDiskGib"), "24");

    // The volume stays where it is.
    let zone = computer.of_stack("Parameters", "Zone");
    let query = ["--query", &format!("Subnets[?AvailabilityZone!='{zone}'].SubnetId | [0]")];
    let elsewhere = computer.aws(&[&["ec2", "describe-subnets"], &query[..]].concat());
    computer.up(&["--subnet", elsewhere.as_str().unwrap()]).ill().has(&zone).has("./scripts/aws-down.sh");
}

#[test]
fn a_connection_that_was_deleted_is_made_by_another_name() {
    let computer = Computer::with_image();
    computer.up(&[]).well();
    computer.behave(|state| state["connections"] = json!({}));
    let told = computer.up(&[]).well();
    let name = computer.of_stack("Parameters", "ConnectionName");
    assert!(name.starts_with(&format!("{}-", computer.stack)) && name.len() <= 32, "{name}");
    told.has(&format!("choose {name}, then")).has("approved");
    computer.up(&[]).well().has_not("It waits for you");
    assert_eq!(computer.of_stack("Parameters", "ConnectionName"), name);
}

#[test]
fn what_a_first_try_that_failed_leaves_is_not_taken_for_data() {
    let computer = Computer::with_image();
    computer.behave(|state| state["failing"] = json!(true));
    computer.up(&[]).ill().has("The stack was not made.");
    let tagged = format!("Name=tag:ec-deployer:data,Values={}", computer.stack);
    let snapshots = ["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", &tagged];
    assert_eq!(computer.count(&snapshots, "Snapshots"), 1);
    let told = computer.up(&[]).well();
    told.has("which has no data").has("none is left of a former stack");
    assert_eq!(computer.count(&snapshots, "Snapshots"), 0);
}

#[test]
fn down_keeps_the_data_says_what_is_left_and_up_begins_with_them() {
    let computer = Computer::with_image();
    computer.up(&[]).well();
    let before = computer.resources();
    computer
        .behave(|state| state["reports"] = json!([reports(&computer, "tests"), reports(&computer, "other")]));
    let told = computer.down(&[]).well();
    // One of them the script took, before anything was deleted, and the other CloudFormation.
    let mine = format!("Name=volume-id,Values={}", before["DataVolume"]);
    let found = computer.aws(&["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", &mine]);
    let snapshots: Vec<_> = found["Snapshots"].as_array().unwrap().iter().collect();
    assert_eq!(snapshots.len(), 2);
    for snapshot in &snapshots {
        let id = snapshot["SnapshotId"].as_str().unwrap();
        told.has(&format!("the data, snapshot {id}")).has(&format!("delete-snapshot --snapshot-id {id}"));
    }
    told.has(&format!("the backups, bucket {}", before["Backups"])).has("the golden image ami-");
    let (tests, other) = (reports(&computer, "tests"), reports(&computer, "other"));
    told.has(&format!("delete-report-group --delete-reports --arn {tests}")).has_not(&other);

    let newest = snapshots.iter().max_by_key(|each| each["StartTime"].as_str()).unwrap();
    let snapshot = newest["SnapshotId"].as_str().unwrap();
    let told = computer.up(&[]).well();
    told.has(&format!("restores {snapshot}")).has("the data as they were at 20").has("keeps the backups in");
    assert_eq!(computer.of_stack("Parameters", "DataSnapshot"), snapshot);
    assert!(!computer.resources().contains_key("Backups"), "there is one already");

    // Without the data, once somebody has said so.
    computer.down(&["--delete-data"]).ill().has("Nothing was deleted.");
    let told = computer.down(&["--delete-data", "--yes"]).well();
    told.has_not("the data, snapshot").has_not("the backups, bucket");
    assert_eq!(
        computer
            .count(&["ec2", "describe-snapshots", "--owner-ids", "self", "--filters", &mine], "Snapshots"),
        0
    );
}

#[test]
fn down_leaves_no_machine_of_a_project_behind_unsaid() {
    let computer = Computer::with_image();
    computer.up(&[]).well();
    let image = computer.of_stack("Parameters", "GoldenImage");
    let tags = "ResourceType=instance,Tags=[{Key=ManagedBy,Value=ec-deployer},{Key=Name,Value=bookshop}]";
    let run = ["ec2", "run-instances", "--image-id", &image, "--tag-specifications", tags];
    let machine = computer.aws(&run)["Instances"][0]["InstanceId"].as_str().unwrap().to_owned();
    let told = computer.down(&[]).ill();
    told.has(&machine).has("bookshop").has("--leave-machines");
    assert!(computer.resources().contains_key("Server"), "nothing was deleted");

    // What a machine that is left still holds stays with it.
    computer.behave(|state| state["held"] = json!(["MachineGroup"]));
    let told = computer.down(&["--leave-machines"]).well();
    told.has("leaving MachineGroup").has(&format!("terminate-instances --instance-ids {machine}"));
    told.has("aws ec2 delete-security-group --group-id sg-");
}

#[test]
fn down_says_what_it_cannot_do_and_what_is_lost() {
    let computer = Computer::with_image();
    computer.up(&[]).well();
    let made = computer.resources();
    // A snapshot that comes to nothing keeps everything.
    computer.behave(|state| state["snapshot"] = json!("error"));
    computer.down(&[]).ill().has("is of no use: error");
    computer.behave(|state| state["snapshot"] = json!(null));

    // What may not be deleted is said, and not tried for ever.
    let object = ["--bucket", &made["Artifacts"], "--key", "kept"];
    computer.aws(&[&["s3api", "put-object"], &object[..]].concat());
    computer.behave(|state| state["locked"] = json!(true));
    computer.down(&[]).ill().has("could be deleted: kept AccessDenied");
    computer.behave(|state| state["locked"] = json!(false));

    // Somebody has deleted the volume. What there is of it is the snapshot that was just made.
    computer.aws(&["ec2", "delete-volume", "--volume-id", &made["DataVolume"]]);
    computer.behave(|state| state["held"] = json!(["DataVolume"]));
    let told = computer.down(&[]).well();
    told.has("the volume is not there; the newest snapshot of the data is snap-").has("leaving DataVolume");
}
