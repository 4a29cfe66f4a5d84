//! The proxy in front of moto, asked by the SDK's client.

use std::time::Duration;

use aws_sdk_ec2::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::run_instances::builders::RunInstancesFluentBuilder,
    types::{
        Image, ImageState, Instance, InstanceStateName, InstanceType, ResourceType, Tag, TagSpecification,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    account::Account,
    moto,
    proxy::{Proxy, faults::Fault, ssm::Ending},
};

/// A prepared account, a proxy in front of it, and a client of the proxy that tries once.
async fn start() -> (Account, Proxy, Client) {
    let account = Account::prepare().await;
    let proxy = Proxy::start(&account.id).await;
    let client = moto::client_at(&proxy.url, &account.id);
    (account, proxy, client)
}

fn launch(client: &Client, account: &Account, token: &str) -> RunInstancesFluentBuilder {
    let call = client.run_instances().image_id(&account.image).instance_type(InstanceType::T3Small);
    call.min_count(1).max_count(1).subnet_id(&account.subnets[0]).client_token(token)
}

async fn launched(call: RunInstancesFluentBuilder) -> Instance {
    call.send().await.unwrap().instances.unwrap().remove(0)
}

/// What a launch was refused with.
async fn refused(call: RunInstancesFluentBuilder) -> String {
    let error = call.send().await.unwrap_err();
    error.code().unwrap_or_default().to_owned()
}

/// The one machine as the proxy shows it.
async fn shown(client: &Client) -> Option<Instance> {
    let answer = client.describe_instances().send().await.unwrap();
    let machines = answer.reservations.unwrap_or_default().into_iter().flat_map(|r| r.instances.unwrap());
    let machines: Vec<_> = machines.collect();
    assert!(machines.len() <= 1);
    machines.into_iter().next()
}

fn state(machine: &Instance) -> InstanceStateName {
    machine.state.clone().unwrap().name.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launch_token_is_one_machine() {
    let (account, proxy, client) = start().await;
    let first = launched(launch(&client, &account, "one")).await.instance_id;
    assert_eq!(launched(launch(&client, &account, "one")).await.instance_id, first);
    assert_ne!(launched(launch(&client, &account, "two")).await.instance_id, first);
    let changed = launch(&client, &account, "one").user_data(STANDARD.encode("other"));
    assert_eq!(refused(changed).await, "IdempotentParameterMismatch");
    // Another zone is another scope of the token.
    let elsewhere = launch(&client, &account, "one").set_subnet_id(Some(account.subnets[1].clone()));
    assert_ne!(launched(elsewhere).await.instance_id, first);
    assert_eq!(account.machines().await.len(), 3);

    client.terminate_instances().instance_ids(first.unwrap()).send().await.unwrap();
    assert_eq!(refused(launch(&client, &account, "one")).await, "IdempotentInstanceTerminated");

    proxy.behave(|ec2| ec2.idempotent = false);
    let again = launched(launch(&client, &account, "two")).await.instance_id;
    assert_ne!(launched(launch(&client, &account, "two")).await.instance_id, again);
    assert_eq!(account.machines().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_launches_with_one_token_at_once_are_one_machine() {
    let (account, _proxy, client) = start().await;
    let both = futures_util::future::join_all(
        (0..8).map(|_| launched(launch(&client, &account, "the same token at once"))),
    );
    let ids: std::collections::BTreeSet<_> = both.await.into_iter().map(|one| one.instance_id).collect();
    assert_eq!((ids.len(), account.machines().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ec2_refuses_is_refused_in_its_words() {
    let (account, _proxy, client) = start().await;
    let call = || launch(&client, &account, "one");
    let large = STANDARD.encode(vec![b'x'; 16 * 1024 + 1]);
    let error = call().user_data(large).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidParameterValue"));
    assert!(error.message().unwrap().contains("limited to 16384 bytes"));
    launched(call().user_data(STANDARD.encode(vec![b'x'; 16 * 1024]))).await;
    assert_eq!(refused(launch(&client, &account, &"x".repeat(65))).await, "InvalidParameterValue");
    let call = || launch(&client, &account, "two");
    assert_eq!(refused(call().instance_type("t3.nosuch".into())).await, "InvalidParameterValue");
    assert_eq!(refused(call().image_id("ami-0123456789abcdef0")).await, "InvalidAMIID.NotFound");
    assert_eq!(refused(call().key_name("nosuch")).await, "InvalidKeyPair.NotFound");
    let profile = aws_sdk_ec2::types::IamInstanceProfileSpecification::builder().name("nosuch").build();
    let error = call().iam_instance_profile(profile).send().await.unwrap_err();
    assert!(error.message().unwrap().contains("Invalid IAM Instance Profile"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn states_and_addresses_take_their_time() {
    let (account, proxy, client) = start().await;
    proxy.behave(|ec2| (ec2.hidden, ec2.pending, ec2.addressless, ec2.leaving) = (2, 1, 2, 1));
    let machine = launched(launch(&client, &account, "one")).await;
    assert_eq!((machine.public_ip_address(), state(&machine)), (None, InstanceStateName::Pending));
    let id = machine.instance_id.unwrap();
    let error = client.describe_instances().instance_ids(&id).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidInstanceID.NotFound"));
    assert!(shown(&client).await.is_none());
    let machine = shown(&client).await.unwrap();
    assert_eq!((machine.public_ip_address(), state(&machine)), (None, InstanceStateName::Pending));
    let machine = shown(&client).await.unwrap();
    assert_eq!((machine.public_ip_address(), state(&machine)), (None, InstanceStateName::Running));
    assert!(shown(&client).await.unwrap().public_ip_address().is_some());

    let power = |action: &str| {
        let (client, id, action) = (client.clone(), id.clone(), action.to_owned());
        async move {
            let code = |error: Option<&str>| error.unwrap_or("").to_owned();
            match action.as_str() {
                "stop" => client
                    .stop_instances()
                    .instance_ids(id)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| code(e.code())),
                "start" => client
                    .start_instances()
                    .instance_ids(id)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| code(e.code())),
                _ => client
                    .terminate_instances()
                    .instance_ids(id)
                    .send()
                    .await
                    .map(drop)
                    .map_err(|e| code(e.code())),
            }
        }
    };
    power("stop").await.unwrap();
    assert_eq!(power("start").await, Err("IncorrectInstanceState".into()), "it is stopping");
    assert_eq!(state(&shown(&client).await.unwrap()), InstanceStateName::Stopping);
    assert_eq!(state(&shown(&client).await.unwrap()), InstanceStateName::Stopped);
    power("start").await.unwrap();
    assert_eq!(power("stop").await, Err("IncorrectInstanceState".into()), "it is pending");
    assert_eq!(state(&shown(&client).await.unwrap()), InstanceStateName::Pending);
    assert_eq!(state(&shown(&client).await.unwrap()), InstanceStateName::Running);
    power("terminate").await.unwrap();
    assert_eq!(state(&shown(&client).await.unwrap()), InstanceStateName::ShuttingDown);
    assert_eq!(state(&shown(&client).await.unwrap()), InstanceStateName::Terminated);
    for action in ["start", "stop"] {
        assert_eq!(power(action).await, Err("IncorrectInstanceState".into()), "{action}");
    }
    power("terminate").await.unwrap();
    assert_eq!(account.state(&id).await, InstanceStateName::Terminated);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_take_their_time_and_their_snapshots_have_tags() {
    let (account, proxy, client) = start().await;
    proxy.behave(|ec2| ec2.image_pending = 1);
    let machine = launched(launch(&client, &account, "one")).await.instance_id.unwrap();
    let tags = |kind: ResourceType| {
        let tag = Tag::builder().key("of").value("a test & more").build();
        TagSpecification::builder().resource_type(kind).tags(tag).build()
    };
    let call = client.create_image().instance_id(machine).name("baked");
    let call = call.tag_specifications(tags(ResourceType::Image));
    let call = call.tag_specifications(tags(ResourceType::Snapshot));
    let id = call.send().await.unwrap().image_id.unwrap();
    let look = || async {
        let answer = client.describe_images().image_ids(&id).send().await.unwrap();
        answer.images.unwrap().remove(0)
    };
    assert_eq!(look().await.state, Some(ImageState::Pending));
    let image: Image = look().await;
    assert_eq!(image.state, Some(ImageState::Available));
    assert_eq!(image.tags()[0].value(), Some("a test & more"));
    let snapshot = image.block_device_mappings()[0].ebs().unwrap().snapshot_id().unwrap();
    let snapshots = account.client.describe_snapshots().snapshot_ids(snapshot).send().await.unwrap();
    assert_eq!(snapshots.snapshots()[0].tags()[0].value(), Some("a test & more"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_says_what_the_test_sets_and_a_used_address_stays() {
    let (account, proxy, client) = start().await;
    let machine = launched(launch(&client, &account, "one")).await.instance_id.unwrap();
    proxy.behave(|ec2| ec2.console = "booted\n".into());
    let said = client.get_console_output().instance_id(&machine).send().await.unwrap().output.unwrap();
    assert_eq!(STANDARD.decode(said).unwrap(), b"booted\n");

    let address = client.allocate_address().send().await.unwrap().allocation_id.unwrap();
    let call = client.associate_address().allocation_id(&address).instance_id(&machine);
    let association = call.send().await.unwrap().association_id.unwrap();
    let error = client.release_address().allocation_id(&address).send().await.unwrap_err();
    assert_eq!(error.code(), Some("InvalidIPAddress.InUse"));
    client.disassociate_address().association_id(association).send().await.unwrap();
    client.release_address().allocation_id(&address).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_come_as_often_as_asked_and_calls_are_recorded() {
    let (account, proxy, client) = start().await;
    let call = || launch(&client, &account, "one");
    proxy.fault("RunInstances", 2, Fault::answer(503, "RequestLimitExceeded", "Request limit exceeded."));
    for _ in 0..2 {
        assert_eq!(refused(call()).await, "RequestLimitExceeded");
    }
    proxy.fault("RunInstances", 1, Fault::Lose);
    assert!(matches!(call().send().await, Err(SdkError::DispatchFailure(_))));
    assert!(account.machines().await.is_empty());
    proxy.fault("RunInstances", 1, Fault::DropReply);
    assert!(matches!(call().send().await, Err(SdkError::DispatchFailure(_))));
    proxy.fault("RunInstances", 1, Fault::afterwards(500, "InternalError"));
    assert_eq!(refused(call()).await, "InternalError");
    proxy.fault("RunInstances", 1, Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(300), call().send()).await.is_err());
    launched(call()).await;
    assert_eq!(account.machines().await.len(), 1);

    let calls = proxy.calls_of("RunInstances");
    let statuses: Vec<_> = calls.iter().map(|call| call.status.unwrap_or(0)).collect();
    assert_eq!(statuses, [503, 503, 0, 0, 500, 0, 200]);
    assert!(calls.iter().all(|call| call.param("ClientToken") == "one" && call.service == "ec2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn gates_hold_calls_before_they_go_through_and_after() {
    let (account, proxy, client) = start().await;
    let call = || {
        let call = launch(&client, &account, "one");
        tokio::spawn(async move { call.send().await.is_ok() })
    };
    let gate = proxy.hold_requests("RunInstances", 1);
    let held = call();
    gate.reached(1).await;
    assert!(account.machines().await.is_empty(), "it has not gone through");
    // Whoever asked is gone, and the request is on its way all the same.
    held.abort();
    assert!(held.await.is_err());
    gate.release();
    while account.machines().await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let gate = proxy.hold_replies("RunInstances", 1);
    let held = call();
    gate.reached(1).await;
    assert!(!held.is_finished());
    gate.release();
    assert!(held.await.unwrap());
    let gate = proxy.hold_requests("RunInstances", 1);
    let held = call();
    gate.reached(1).await;
    gate.lose();
    assert!(!held.await.unwrap());
    assert_eq!(account.machines().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_run_where_an_agent_is_and_end_as_the_test_says() {
    let (account, proxy, client) = start().await;
    let machine = launched(launch(&client, &account, "one")).await.instance_id.unwrap();
    let config = aws_sdk_ssm::Config::from(&aws_config::SdkConfig::builder().build());
    let ssm = aws_sdk_ssm::Client::from_conf(
        config
            .to_builder()
            .behavior_version(aws_sdk_ssm::config::BehaviorVersion::latest())
            .region(aws_sdk_ssm::config::Region::new(moto::REGION))
            .credentials_provider(aws_sdk_ssm::config::Credentials::new(
                "AKIATEST", "test", None, None, "test",
            ))
            .endpoint_url(&proxy.url)
            .build(),
    );
    let send = || {
        let call = ssm.send_command().instance_ids(&machine).document_name("AWS-RunShellScript");
        call.parameters("commands", vec!["echo one".into(), "echo two".into()]).send()
    };
    assert!(send().await.unwrap_err().into_service_error().is_invalid_instance_id());
    proxy.ssm(|ssm| {
        ssm.agents.insert(machine.clone(), "Online");
        ssm.takes = 2;
        ssm.ending = Box::new(|_, script| Ending::failure(3, &format!("ran: {script}")));
        ssm.parameters.insert("/aws/service/canonical/ubuntu/".into(), account.image.clone());
    });
    let known = ssm.describe_instance_information().send().await.unwrap();
    assert_eq!(known.instance_information_list()[0].instance_id(), Some(machine.as_str()));
    let id = send().await.unwrap().command.unwrap().command_id.unwrap();
    let look = || ssm.get_command_invocation().command_id(&id).instance_id(&machine).send();
    assert!(look().await.unwrap_err().into_service_error().is_invocation_does_not_exist());
    assert_eq!(look().await.unwrap().status.unwrap().as_str(), "InProgress");
    let ended = look().await.unwrap();
    assert_eq!(ended.response_code, 3);
    assert_eq!(ended.standard_error_content(), Some("ran: echo one\necho two"));
    assert_eq!(proxy.ssm(|ssm| ssm.commands[0].1.script.clone()), "echo one\necho two");
    let name = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id";
    let ubuntu = ssm.get_parameter().name(name).send().await.unwrap().parameter.unwrap();
    assert_eq!(ubuntu.value(), Some(account.image.as_str()));
}
