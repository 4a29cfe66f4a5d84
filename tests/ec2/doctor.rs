//! `ec-deployer doctor` with `CLOUD=ec2`: what it says of an account that has all, of each thing that is wrong, and
//! of each permission that is missing.
//!
//! moto enforces the actions of IAM's policies, but neither resources nor conditions; those are tested beside the
//! code, against the policy itself. It does not simulate policies either: that is answered here.

use std::{collections::BTreeMap, process::Command, sync::Arc};

use aws_sdk_ec2::types::{DomainType, Filter, ResourceType, Tag, TagSpecification};
use aws_sdk_iam::config::{BehaviorVersion, Credentials, Region};
use axum::{Router, body::Bytes, http::StatusCode, response::IntoResponse, routing::post};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::{
    account::{Account, NAME, register_image},
    moto,
    proxy::{Proxy, faults::Fault},
    site::{Serving, World},
};

/// The account that moto takes whoever does not name one to be of.
const DEFAULT_ACCOUNT: &str = "123456789012";
const CORE: &str = "AmazonSSMManagedInstanceCore";

/// Settings that are wrong, and the lines that say so.
type Wrong<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// What doctor printed, and whether it found nothing bad.
struct Told {
    lines: Vec<String>,
    well: bool,
}

impl Told {
    #[track_caller]
    fn has(&self, start: &str) {
        assert!(self.lines.iter().any(|line| line.starts_with(start)), "{start:?} in {:#?}", self.lines);
    }

    #[track_caller]
    fn has_not(&self, part: &str) {
        assert!(!self.lines.iter().any(|line| line.contains(part)), "{part:?} in {:#?}", self.lines);
    }

    fn bad(&self) -> Vec<&str> {
        self.lines.iter().map(String::as_str).filter(|line| line.starts_with("bad  ")).collect()
    }
}

async fn doctor(environment: BTreeMap<String, String>) -> Told {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ec-deployer"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", directory.path())
        .env("STATE_DIR", directory.path().join("state"))
        .envs(environment)
        .arg("doctor");
    let told = run(command).await;
    assert!(!directory.path().join("state").exists(), "it leaves nothing behind");
    told
}

async fn run(mut command: Command) -> Told {
    // A proxy in this process is to answer meanwhile.
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let lines: Vec<_> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    let (sum, findings) = lines.split_last().unwrap_or_else(|| {
        panic!("it says nothing: {}", String::from_utf8_lossy(&output.stderr));
    });
    for line in findings {
        let kind = ["ok   ", "warn ", "bad  "].iter().position(|kind| line.starts_with(kind));
        let kind = kind.unwrap_or_else(|| panic!("{line:?} is no finding"));
        assert_eq!(kind > 0, line.contains(". Cure: "), "{line}");
    }
    assert!(sum.ends_with(" bad"), "{sum}");
    Told { well: output.status.success(), lines }
}

fn environment(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    let of = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut all: BTreeMap<_, _> = [
        ("CLOUD", "ec2"),
        ("LISTEN", "127.0.0.1:9"),
        ("AWS_REGION", moto::REGION),
        ("AWS_ACCESS_KEY_ID", "AKIATEST"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("RUST_LOG", "off"),
    ]
    .map(of)
    .into();
    all.extend(settings.iter().copied().map(of));
    all.retain(|_, value| !value.is_empty());
    all
}

fn iam_at(url: &str) -> aws_sdk_iam::Client {
    let config = aws_sdk_iam::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(moto::REGION))
        .credentials_provider(Credentials::new("AKIATEST", "test", None, None, "test"))
        .endpoint_url(url)
        .build();
    aws_sdk_iam::Client::from_conf(config)
}

/// Gives the instance profile a role that Systems Manager can use.
async fn give_role(iam: &aws_sdk_iam::Client) {
    let trust = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}
    }]});
    let role = iam.create_role().role_name(NAME).assume_role_policy_document(trust.to_string());
    role.send().await.unwrap();
    let add = iam.add_role_to_instance_profile().instance_profile_name(NAME).role_name(NAME);
    add.send().await.unwrap();
    // moto has AWS's own policies only where it is told to load them.
    let allowed = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "ssm:UpdateInstanceInformation", "Resource": "*"
    }]});
    let policy = iam.create_policy().policy_name(CORE).policy_document(allowed.to_string()).send().await;
    let arn = policy.unwrap().policy.unwrap().arn.unwrap();
    iam.attach_role_policy().role_name(NAME).policy_arn(arn).send().await.unwrap();
}

/// The tag by which the policy knows what is the product's.
fn our_tags(kind: ResourceType) -> TagSpecification {
    TagSpecification::builder()
        .resource_type(kind)
        .tags(Tag::builder().key("ManagedBy").value("ec-deployer").build())
        .build()
}

/// One of each thing that permissions can be tried on, with our tag.
async fn give_things(client: &aws_sdk_ec2::Client, image: &str) {
    let tag = Tag::builder().key("ManagedBy").value("ec-deployer").build();
    let found = client.describe_images().image_ids(image).send().await.unwrap();
    let disks = found.images()[0].block_device_mappings().to_vec();
    let snapshot = disks.iter().find_map(|disk| disk.ebs()?.snapshot_id()).unwrap();
    client.create_tags().resources(image).resources(snapshot).tags(tag).send().await.unwrap();
    let volume = client.create_volume().availability_zone(format!("{}a", moto::REGION)).size(8);
    volume.tag_specifications(our_tags(ResourceType::Volume)).send().await.unwrap();
    let machine = client.run_instances().image_id(image).min_count(1).max_count(1);
    let machine = machine.tag_specifications(our_tags(ResourceType::Instance)).send().await.unwrap();
    let machine = machine.instances()[0].instance_id().unwrap().to_owned();
    let address = client.allocate_address().domain(DomainType::Vpc);
    let address = address.tag_specifications(our_tags(ResourceType::ElasticIp)).send().await.unwrap();
    let address = address.allocation_id.unwrap();
    client.associate_address().allocation_id(address).instance_id(machine).send().await.unwrap();
}

/// The site's policy without some actions, as moto can enforce it: by actions alone.
fn policy_without(without: &[&str]) -> String {
    let mut policy: Value = serde_json::from_str(include_str!("../../infra/policy.json")).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        let statement = statement.as_object_mut().unwrap();
        statement.remove("Condition");
        statement["Resource"] = json!("*");
        let actions = match &statement["Action"] {
            Value::Array(actions) => actions.clone(),
            one => vec![one.clone()],
        };
        let left: Vec<_> =
            actions.into_iter().filter(|action| !without.contains(&action.as_str().unwrap())).collect();
        // A statement of no action is none.
        statement["Action"] = if left.is_empty() { json!("none:None") } else { json!(left) };
    }
    policy.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_enough_and_each_missing_permission_is_named() {
    // Where permissions are enforced they are so for every account of that moto.
    let url = tokio::task::spawn_blocking(moto::start).await.unwrap();
    let client = moto::client_at(&url, DEFAULT_ACCOUNT);
    let image = register_image(&client, "golden").await;
    give_things(&client, &image).await;
    let iam = iam_at(&url);
    iam.create_instance_profile().instance_profile_name(NAME).send().await.unwrap();
    give_role(&iam).await;
    client.create_key_pair().key_name(NAME).send().await.unwrap();

    // What is missing together is named one by one.
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &[]),
        (
            &["ec2:Describe*"],
            &[
                "bad  not allowed ec2:DescribeInstances.",
                "bad  not allowed ec2:DescribeImages.",
                "bad  not allowed ec2:DescribeSubnets.",
                "warn not allowed ec2:DescribeVpcs: this look sees less.",
                "warn the subnets could not be looked at: This site is not allowed ec2:DescribeSubnets. Cure: ",
                "warn the instance types could not be looked at: ",
            ],
        ),
        (
            &[
                "ec2:CreateTags",
                "ec2:StopInstances",
                "ec2:TerminateInstances",
                "ec2:GetConsoleOutput",
                "ec2:DeleteSnapshot",
                "ec2:DeleteVolume",
                "ec2:AllocateAddress",
                "ec2:DisassociateAddress",
            ],
            &[
                "bad  not allowed ec2:CreateTags. Cure: add it to the site's IAM policy",
                "warn not allowed ec2:StopInstances: machines cannot be stopped.",
                "bad  not allowed ec2:TerminateInstances.",
                "bad  not allowed ec2:GetConsoleOutput.",
                "warn not allowed ec2:DeleteSnapshot: ",
                "warn not allowed ec2:DeleteVolume: ",
                "bad  not allowed ec2:AllocateAddress.",
                "bad  not allowed ec2:DisassociateAddress.",
            ],
        ),
        (
            &[
                "ec2:RunInstances",
                "ec2:StartInstances",
                "ec2:RebootInstances",
                "ec2:CreateImage",
                "ec2:DeregisterImage",
                "ec2:AssociateAddress",
                "ec2:ReleaseAddress",
            ],
            &[
                "bad  not allowed ec2:RunInstances.",
                "warn not allowed ec2:StartInstances: stopped machines cannot be started.",
                "warn not allowed ec2:RebootInstances: ",
                "bad  not allowed ec2:CreateImage.",
                "warn not allowed ec2:DeregisterImage: ",
                "bad  not allowed ec2:AssociateAddress.",
                "bad  not allowed ec2:ReleaseAddress.",
            ],
        ),
    ];
    let mut keys = Vec::new();
    for (number, (without, _)) in cases.iter().enumerate() {
        let user = format!("site-{number}");
        iam.create_user().user_name(&user).send().await.unwrap();
        let put = iam.put_user_policy().user_name(&user).policy_name("site");
        put.policy_document(policy_without(without)).send().await.unwrap();
        let key = iam.create_access_key().user_name(&user).send().await.unwrap().access_key.unwrap();
        keys.push((key.access_key_id, key.secret_access_key));
    }
    let reset = reqwest::Client::new().post(format!("{url}/moto-api/reset-auth")).body("0");
    assert_eq!(reset.send().await.unwrap().status(), StatusCode::OK);

    let url = Arc::new(url);
    let image = Arc::new(image);
    let looks = cases.into_iter().zip(keys).map(|((without, expected), (id, secret))| {
        let (url, image) = (url.clone(), image.clone());
        async move {
            let told = doctor(environment(&[
                ("AWS_ENDPOINT_URL", &url),
                ("AWS_ACCESS_KEY_ID", &id),
                ("AWS_SECRET_ACCESS_KEY", &secret),
                ("GOLDEN_AMI", &image),
                ("INSTANCE_PROFILE", NAME),
                ("KEY_PAIR", NAME),
                ("ELASTIC_IP", "true"),
            ]))
            .await;
            assert!(!told.well, "machines cannot reach 127.0.0.1");
            told.has(&format!("ok   AWS knows this site as arn:aws:iam::{DEFAULT_ACCOUNT}:user/site-"));
            for line in expected {
                told.has(line);
            }
            if without.is_empty() {
                told.has_not("not allowed");
                // moto's default security group and the site's address are the test's own shortcomings.
                let bad: Vec<_> = told.bad();
                assert!(
                    bad.iter()
                        .all(|line| line.contains("port 80 is closed") || line.contains("cannot reach")),
                    "{bad:#?}"
                );
                for action in
                    ["ec2:RunInstances", "ec2:TerminateInstances", "ec2:CreateImage", "ec2:ReleaseAddress"]
                {
                    told.has(&format!("ok   allowed {action}"));
                }
                told.has("ok   allowed iam:PassRole");
                told.has("warn whether this site is allowed ssm:SendCommand is not known: ");
            } else if *without != ["ec2:Describe*"] {
                let denied = told.lines.iter().filter(|line| line.contains("not allowed "));
                assert_eq!(denied.count(), expected.len(), "{:#?}", told.lines);
            }
        }
    });
    stream::iter(looks).buffer_unordered(4).collect::<Vec<_>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told_with_its_cure() {
    let account = Account::prepare().await;
    let proxy = Proxy::start(&account.id).await;
    let closed = account.client.create_security_group().group_name("closed").description("Closed");
    let vpc =
        account.client.describe_subnets().send().await.unwrap().subnets()[0].vpc_id().unwrap().to_owned();
    let closed = closed.vpc_id(vpc).send().await.unwrap().group_id.unwrap();
    let elsewhere = account.client.create_vpc().cidr_block("10.77.0.0/16").send().await.unwrap();
    let elsewhere = elsewhere.vpc.unwrap().vpc_id.unwrap();
    let inside = account.client.create_subnet().vpc_id(&elsewhere).cidr_block("10.77.1.0/24").send().await;
    let inside = inside.unwrap().subnet.unwrap().subnet_id.unwrap();
    // One of moto's own: of those that a test registers it does not say for what they are.
    let x86 = Filter::builder().name("architecture").values("x86_64").build();
    let x86 = account.client.describe_images().filters(x86).send().await.unwrap();
    let x86 = x86.images()[0].image_id().unwrap().to_owned();
    let port_80 = format!("bad  the security group {closed}: port 80 is closed");
    let no_way_out = format!("warn the subnet {inside} in ");
    let another_vpc =
        format!("bad  the security group {} is in another VPC than the subnets. Cure: ", account.group);
    let right = [
        ("AWS_ENDPOINT_URL", proxy.url.as_str()),
        ("GOLDEN_AMI", &account.image),
        ("SUBNET_IDS", &account.subnets[0]),
        ("SECURITY_GROUP_IDS", &account.group),
        ("INSTANCE_PROFILE", NAME),
        ("KEY_PAIR", NAME),
    ];
    let unset: &[(&str, &str)] = &[("AWS_REGION", "")];
    let cases: &[Wrong<'_>] = &[
        (unset, &["bad  no region is set. Cure: set AWS_REGION"]),
        (
            &[("AWS_ACCESS_KEY_ID", "")],
            &["bad  This site has no credentials of AWS. Cure: Give its server an instance profile"],
        ),
        (
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
            &["bad  This site does not reach STS in eu-west-1. Cure: Is the region's name right"],
        ),
        (
            &[
                ("GOLDEN_AMI", "ami-00000000000000000"),
                ("SUBNET_IDS", "subnet-00000000"),
                ("INSTANCE_PROFILE", "nobody"),
                ("KEY_PAIR", "nobody"),
                ("INSTANCE_TYPE", "t9.huge"),
                ("PUBLIC_URL", "http://nobody.invalid"),
            ],
            &[
                "bad  there is no image ami-00000000000000000 in eu-west-1 that this account may use. Cure: correct GOLDEN_AMI",
                "bad  there is no subnet subnet-00000000 in eu-west-1. Cure: correct SUBNET_IDS",
                "bad  the instance profile nobody: There is no instance profile of the name in INSTANCE_PROFILE. Cure: ",
                "bad  there is no key pair nobody in eu-west-1. Cure: ",
                "bad  there is no instance type t9.huge in eu-west-1. Cure: set INSTANCE_TYPE",
                "bad  the name of http://nobody.invalid is not known. Cure: ",
            ],
        ),
        (
            &[
                ("GOLDEN_AMI", &x86),
                ("SECURITY_GROUP_IDS", &closed),
                ("INSTANCE_PROFILE", ""),
                ("INSTANCE_TYPES", "t3.small,t4g.small"),
                ("PUBLIC_URL", "http://10.9.9.9:8000"),
            ],
            &[
                &port_80,
                "warn machines get no instance profile from here: ",
                "warn the instance type t4g.small is for arm64, and the image ami-",
                "warn http://10.9.9.9:8000: 10.9.9.9 is a private address, and not one of the subnets' VPC",
                "warn machines report to http://10.9.9.9:8000 without encryption: ",
            ],
        ),
        (
            &[("SECURITY_GROUP_IDS", "sg-00000000"), ("PUBLIC_URL", "http://172.31.1.1:8000")],
            &[
                "bad  there is no security group sg-00000000 in eu-west-1. Cure: ",
                "bad  the instance profile ec-machines has no role. Cure: ",
                "ok   machines report to http://172.31.1.1:8000, an address of their own VPC",
            ],
        ),
        (
            &[("LAUNCH_TEMPLATE", "lt-00000000000000000"), ("SUBNET_IDS", &inside)],
            &[
                "bad  the launch template of LAUNCH_TEMPLATE: ",
                &no_way_out,
                &another_vpc,
                "bad  machines cannot reach http://127.0.0.1:9: 127.0.0.1 is the machine itself to them. Cure: ",
            ],
        ),
    ];
    let looks = cases.iter().map(|(wrong, expected)| {
        let settings: Vec<_> = right.iter().chain(*wrong).copied().collect();
        async move {
            let told = doctor(environment(&settings)).await;
            for line in *expected {
                told.has(line);
            }
            assert_eq!(told.well, told.bad().is_empty());
        }
    });
    stream::iter(looks).buffer_unordered(4).collect::<Vec<_>>().await;
    // Nothing was made by looking.
    assert_eq!(account.machines().await.len(), 0);
    for call in proxy.calls() {
        let changes =
            ["Run", "Create", "Start", "Stop", "Reboot", "Terminate", "Deregister", "Delete", "Send"];
        if changes.iter().any(|word| call.action.starts_with(word)) {
            assert_eq!(call.param("DryRun"), "true", "{}", call.action);
        }
    }
}

/// What there is nothing to try on is simulated, where that is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tried_is_simulated() {
    let account = Account::prepare().await;
    let proxy = Proxy::start(&account.id).await;
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let answering = asked.clone();
    let iam = Serving::start(Router::new().fallback(post(async move |body: Bytes| {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
        if form["Action"] != "SimulatePrincipalPolicy" {
            let words = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is not authorized to perform: iam:GetInstanceProfile on resource: y</Message></Error></ErrorResponse>";
            return (StatusCode::FORBIDDEN, words).into_response();
        }
        let names = (1..).map_while(|n| form.get(&format!("ActionNames.member.{n}")));
        let results: String = names
            .map(|name| {
                let decision = if name == "ec2:StopInstances" { "implicitDeny" } else { "allowed" };
                format!("<member><EvalActionName>{name}</EvalActionName><EvalDecision>{decision}</EvalDecision></member>")
            })
            .collect();
        answering.lock().unwrap().push(form);
        format!(
            "<SimulatePrincipalPolicyResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><SimulatePrincipalPolicyResult><EvaluationResults>{results}</EvaluationResults><IsTruncated>false</IsTruncated></SimulatePrincipalPolicyResult></SimulatePrincipalPolicyResponse>"
        )
        .into_response()
    })))
    .await;
    // moto's caller is neither a user nor a role of IAM's.
    let sts = Serving::start(Router::new().fallback(post(async || {
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/site/i-0abc</Arn><UserId>X</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
    })))
    .await;
    // moto's Systems Manager and IAM refuse in another service's words.
    for action in ["GetCommandInvocation", "DescribeInstanceInformation"] {
        let words = format!("User: x is not authorized to perform: ssm:{action} on resource: *");
        proxy.fault(action, 1, Fault::answer(400, "AccessDeniedException", &words));
    }
    let told = doctor(environment(&[
        ("AWS_ENDPOINT_URL", &proxy.url),
        ("AWS_ENDPOINT_URL_IAM", &iam.url),
        ("AWS_ENDPOINT_URL_STS", &sts.url),
        ("INSTANCE_PROFILE", NAME),
        ("GOLDEN_AMI", &account.image),
    ]))
    .await;
    told.has("warn not allowed ec2:StopInstances: machines cannot be stopped. Cure: ");
    told.has("ok   allowed ec2:TerminateInstances, as IAM simulates it");
    told.has("ok   allowed ssm:SendCommand, as IAM simulates it");
    told.has_not("is not known");
    told.has("warn not allowed ssm:GetCommandInvocation: nothing can be deployed again");
    told.has("warn not allowed ssm:DescribeInstanceInformation: ");
    told.has("warn the instance profile ec-machines could not be looked at: this site is not allowed iam:GetInstanceProfile on it. Cure: ");
    let asked = asked.lock().unwrap();
    assert!(asked.iter().all(|form| form["PolicySourceArn"] == "arn:aws:iam::123456789012:role/site"));
    let resources: Vec<_> = asked.iter().map(|form| form["ResourceArns.member.1"].as_str()).collect();
    assert!(
        resources.contains(&"arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0"),
        "{resources:?}"
    );
    assert!(resources.contains(&"arn:aws:ssm:eu-west-1::document/AWS-RunShellScript"), "{resources:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_runs_is_seen_with_its_image() {
    let world = World::start().await;
    world.deploy("shop").await;
    let id = world.launched("shop").await;
    let machine = world.account.machine(&id).await;
    let site = machine.tags().iter().find(|tag| tag.key() == Some("ec-deployer:site")).unwrap().clone();
    let good = Tag::builder().key("ec-deployer:state").value("good").build();
    let tags = world.account.client.create_tags().resources(&world.account.image).tags(site).tags(good);
    tags.send().await.unwrap();
    let mut command = world.site.command("doctor");
    command.env_remove("GOLDEN_AMI");
    let told = run(command).await;
    told.has("ok   a site runs on this state directory: process ");
    told.has("ok   LISTEN: the site listens on 127.0.0.1:");
    told.has(&format!("ok   the newest golden image of this site is {}", world.account.image));
    told.has("ok   the site, process ");
    told.has("ok   allowed ec2:TerminateInstances");
    told.has_not("CALLBACK_URL: ");
    assert_eq!(world.account.state(&id).await.as_str(), "running");
    let answer = reqwest::get(format!("{}/healthz", world.site.url)).await.unwrap();
    assert_eq!(answer.status(), 200);
}
