//! `infra/site.yml`: what it says, and the stack that comes of it as far as moto makes stacks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    infra_aws::{ACCOUNT, Computer, root},
    moto,
};

/// What of the template moto does not make. Of the server it leaves out the data volume, its groups and the options of
/// its metadata besides, of the volume that it is encrypted.
const SKIPPED: [&str; 6] = [
    "AWS::CodeBuild::Project",
    "AWS::CodeConnections::Connection",
    "AWS::CodeDeploy::Application",
    "AWS::CodeDeploy::DeploymentGroup",
    "AWS::CodePipeline::Pipeline",
    "AWS::S3::BucketPolicy",
];

/// The template, its short forms of functions spelled out.
fn template() -> Value {
    let program = "import json, sys; from cfnlint.decode.cfn_yaml import load; json.dump(load(sys.argv[1]), sys.stdout)";
    let python = moto::programs().join("python");
    let output =
        Command::new(python).args(["-c", program]).arg(root().join("infra/site.yml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The policy of the site, for machines whose role has this name.
fn policy(role: &str) -> Value {
    let text = fs::read_to_string(root().join("infra/policy.json")).unwrap();
    serde_json::from_str(&text.replace("ec-deployer-machine", role)).unwrap()
}

impl Computer {
    /// Makes the stack from the template alone, with what is required of it.
    fn create(&self, parameters: &[(&str, &str)]) {
        let image = self.register_image("golden");
        let subnet = &self.aws(&["ec2", "describe-subnets"])["Subnets"][0];
        let of = |name: &str| subnet[name].as_str().unwrap().to_owned();
        let mut all = BTreeMap::from([
            ("Repository", "o/site".to_owned()),
            ("GoldenImage", image),
            ("Vpc", of("VpcId")),
            ("Subnet", of("SubnetId")),
            ("Zone", of("AvailabilityZone")),
        ]);
        all.extend(parameters.iter().map(|(name, value)| (*name, (*value).to_owned())));
        self.change("create-stack", &all);
        assert_eq!(self.status(), "CREATE_COMPLETE");
    }

    fn change(&self, verb: &str, parameters: &BTreeMap<&str, String>) {
        let body = format!("file://{}", root().join("infra/site.yml").display());
        let given: Vec<_> = parameters
            .iter()
            .map(|(name, value)| json!({"ParameterKey": name, "ParameterValue": value}))
            .collect();
        let given = Value::from(given).to_string();
        let words =
            ["cloudformation", verb, "--stack-name", &self.stack, "--capabilities", "CAPABILITY_NAMED_IAM"];
        self.aws(&[&words[..], &["--template-body", &body, "--parameters", &given]].concat());
    }

    fn status(&self) -> String {
        let found = self.aws(&["cloudformation", "describe-stacks", "--stack-name", &self.stack]);
        found["Stacks"][0]["StackStatus"].as_str().unwrap().to_owned()
    }

    /// Whether there is such a thing outside the stack too.
    fn is_there(&self, kind: &str, id: &str) -> bool {
        let (words, query): (&[&str], &str) = match kind {
            "AWS::EC2::SecurityGroup" => {
                (&["ec2", "describe-security-groups", "--group-ids", id], "SecurityGroups")
            }
            "AWS::EC2::LaunchTemplate" => {
                (&["ec2", "describe-launch-templates", "--launch-template-ids", id], "LaunchTemplates")
            }
            "AWS::EC2::Volume" => (&["ec2", "describe-volumes", "--volume-ids", id], "Volumes"),
            "AWS::EC2::Instance" => (&["ec2", "describe-instances", "--instance-ids", id], "Reservations"),
            "AWS::EC2::EIP" => (&["ec2", "describe-addresses", "--public-ips", id], "Addresses"),
            "AWS::IAM::Role" => (&["iam", "get-role", "--role-name", id], "[Role]"),
            "AWS::IAM::ManagedPolicy" => (&["iam", "get-policy", "--policy-arn", id], "[Policy]"),
            "AWS::IAM::InstanceProfile" => {
                (&["iam", "get-instance-profile", "--instance-profile-name", id], "[InstanceProfile]")
            }
            "AWS::SSM::Parameter" => (&["ssm", "get-parameters", "--names", id], "Parameters"),
            "AWS::S3::Bucket" => (&["s3api", "list-buckets"], &format!("Buckets[?Name=='{id}']")),
            "AWS::Logs::LogGroup" => {
                (&["logs", "describe-log-groups", "--log-group-name-prefix", id], "logGroups")
            }
            _ => return false,
        };
        self.count(words, query) == 1
    }

    fn setting(&self, name: &str) -> String {
        let path = format!("/{}/site/{name}", self.stack);
        let found = self.aws(&["ssm", "get-parameters", "--names", &path]);
        found["Parameters"][0]["Value"].as_str().unwrap_or_default().to_owned()
    }
}

/// Every statement of every policy of the template that allows something, with the name of the resource.
fn allowed(template: &Value) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, resource) in template["Resources"].as_object().unwrap() {
        let properties = &resource["Properties"];
        let inline =
            properties["Policies"].as_array().into_iter().flatten().map(|each| &each["PolicyDocument"]);
        for document in inline.chain([&properties["PolicyDocument"]]) {
            for statement in document["Statement"].as_array().into_iter().flatten() {
                if statement["Effect"] == "Allow" {
                    found.push((name.clone(), statement.clone()));
                }
            }
        }
    }
    found
}

#[test]
fn the_linter_has_nothing_to_say() {
    let lint = moto::programs().join("cfn-lint");
    // All checks, the informational ones too, but for one of those that the template names, with the reason.
    let output =
        Command::new(lint).args(["-c", "I", "--"]).arg(root().join("infra/site.yml")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.trim().is_empty(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn it_guards_what_it_makes() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let of = |name: &str| &resources[name]["Properties"];
    assert_eq!(of("Server")["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(of("Server")["BlockDeviceMappings"][0]["Ebs"]["Encrypted"], true);
    assert_eq!(of("Server")["Volumes"], json!([{"Device": "/dev/sdf", "VolumeId": {"Ref": "DataVolume"}}]));
    let data = &of("MachineTemplate")["LaunchTemplateData"];
    assert_eq!(data["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(data["BlockDeviceMappings"][0]["Ebs"]["Encrypted"], true);
    // A group here would keep the site from giving its machines a public IP, and a role would be a builder's too.
    assert_eq!(data.as_object().unwrap().len(), 2);
    assert_eq!(of("DataVolume")["Encrypted"], true);
    for (name, policy) in [("DataVolume", "Snapshot"), ("Backups", "Retain")] {
        assert_eq!(resources[name]["DeletionPolicy"], policy);
        assert_eq!(resources[name]["UpdateReplacePolicy"], policy);
    }
    for name in ["Artifacts", "Backups"] {
        let closed = of(name)["PublicAccessBlockConfiguration"].as_object().unwrap();
        assert!(closed.len() == 4 && closed.values().all(|value| value == true), "{name}");
        assert!(of(name)["BucketEncryption"].is_object());
        assert!(of(name)["LifecycleConfiguration"]["Rules"][0]["ExpirationInDays"] != Value::Null);
        let refusal = &of(&format!("{name}Policy"))["PolicyDocument"]["Statement"][0];
        assert_eq!((&refusal["Effect"], &refusal["Principal"]), (&json!("Deny"), &json!("*")));
        assert_eq!(refusal["Condition"], json!({"Bool": {"aws:SecureTransport": "false"}}));
    }
    // Builds and the pipeline look at the bucket itself, which their services do before they use it.
    let mut looks = allowed(&template);
    looks.retain(|(_, statement)| statement["Resource"] == json!({"Fn::GetAtt": ["Artifacts", "Arn"]}));
    let looks: Vec<_> = looks.iter().map(|(name, statement)| (name.as_str(), &statement["Action"])).collect();
    assert_eq!(
        looks,
        [
            ("BuildRole", &json!(["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"])),
            ("PipelineRole", &json!(["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:GetBucketVersioning"])),
        ]
    );
    // An image that is gone, and a connection that was deleted, do not hold an update up.
    assert_eq!(template["Parameters"]["GoldenImage"]["Type"], "String");
    let name = json!({"Fn::If": ["HasConnectionName", {"Ref": "ConnectionName"}, {"Ref": "AWS::StackName"}]});
    assert_eq!(of("Connection")["ConnectionName"], name);
    // What may not be done to one thing alone is only looked at.
    for (name, statement) in allowed(&template) {
        let actions =
            statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
        for action in actions.iter().map(|action| action.as_str().unwrap()) {
            if statement["Resource"] == "*" {
                let verb = action.split(':').nth(1).unwrap();
                assert!(
                    verb.starts_with("Describe") || verb.starts_with("Get"),
                    "{name} may {action} on all"
                );
            }
            assert!(!action.ends_with('*') || action == "ec2:Describe*", "{name} may {action}");
        }
    }
    // The site may end and delete what carries this tag.
    let text = fs::read_to_string(root().join("infra/site.yml")).unwrap();
    assert!(!text.contains("Key: ManagedBy"));
}

#[test]
fn the_stack_is_made_changed_and_deleted_as_far_as_moto_makes_stacks() {
    let computer = Computer::new();
    computer.create(&[]);
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let made = computer.resources();

    // What moto skips is what is neither in the stack nor outside it.
    let mut skipped = BTreeSet::new();
    for (name, resource) in resources {
        let kind = resource["Type"].as_str().unwrap();
        if ["HasDomain", "HasEmail"].contains(&resource["Condition"].as_str().unwrap_or_default()) {
            assert!(!made.contains_key(name), "{name} has no value");
        } else if !made.get(name).is_some_and(|id| computer.is_there(kind, id)) {
            skipped.insert(kind);
        }
    }
    println!("moto skips: {skipped:?}");
    assert_eq!(skipped, BTreeSet::from(SKIPPED), "moto makes more or less of a stack than it did");

    let stack = &computer.stack;
    assert_eq!(made["MachineRole"], format!("{stack}-machine"));
    assert_eq!(computer.setting("CLOUD"), "ec2");
    assert_eq!(computer.setting("INSTANCE_PROFILE"), format!("{stack}-machine"));
    assert_eq!(computer.setting("LAUNCH_TEMPLATE"), format!("{}:1", made["MachineTemplate"]));
    assert_eq!(computer.setting("SECURITY_GROUP_IDS"), made["MachineGroup"]);
    let subnet = computer.of_stack("Parameters", "Subnet");
    assert_eq!(computer.setting("SUBNET_IDS"), subnet);
    assert_eq!(computer.of_stack("Outputs", "SiteUrl"), format!("http://{}", made["Address"]));
    assert_eq!(computer.of_stack("Outputs", "ServerId"), made["Server"]);

    // Another value changes one thing; all keep their ids.
    let mut parameters = BTreeMap::from([("MachineSubnets", format!("{subnet},subnet-0123"))]);
    for name in ["Repository", "GoldenImage", "Vpc", "Subnet", "Zone"] {
        parameters.insert(name, computer.of_stack("Parameters", name));
    }
    computer.change("update-stack", &parameters);
    assert_eq!(computer.status(), "UPDATE_COMPLETE");
    assert_eq!(computer.setting("SUBNET_IDS"), format!("{subnet},subnet-0123"));
    assert_eq!(computer.resources(), made);

    // The backups alone outlive it. moto leaves the volume besides, of which CloudFormation takes a snapshot before it
    // deletes it, and the address.
    computer.aws(&["cloudformation", "delete-stack", "--stack-name", stack]);
    let looked_at = [
        "MachineGroup",
        "ServerGroup",
        "DataVolume",
        "Address",
        "SettingCloud",
        "Artifacts",
        "BuildLog",
        "Backups",
    ];
    let left: Vec<_> = looked_at
        .into_iter()
        .filter(|name| computer.count_of(resources[*name]["Type"].as_str().unwrap(), &made[*name]))
        .collect();
    assert_eq!(left, ["DataVolume", "Address", "Backups"]);
    let state = ["ec2", "describe-instances", "--instance-ids", &made["Server"]];
    let query = "Reservations[].Instances[?State.Name=='terminated'][]";
    assert_eq!(computer.count(&state, query), 1, "the server is left");
}

impl Computer {
    /// The same as whether it is there, of what may be looked for in vain.
    fn count_of(&self, kind: &str, id: &str) -> bool {
        let (words, query): (&[&str], String) = match kind {
            "AWS::EC2::SecurityGroup" => {
                (&["ec2", "describe-security-groups"], format!("SecurityGroups[?GroupId=='{id}']"))
            }
            "AWS::EC2::Volume" => (&["ec2", "describe-volumes"], format!("Volumes[?VolumeId=='{id}']")),
            "AWS::EC2::EIP" => (&["ec2", "describe-addresses"], format!("Addresses[?PublicIp=='{id}']")),
            _ => return self.is_there(kind, id),
        };
        self.count(words, &query) == 1
    }
}

#[test]
fn the_site_may_do_what_its_policy_says_and_nothing_else() {
    let computer = Computer::new();
    computer.create(&[]);
    let made = computer.resources();
    let arn = &made["SitePolicy"];
    let version = ["iam", "get-policy-version", "--policy-arn", arn, "--version-id", "v1"];
    let document = computer.aws(&version)["PolicyVersion"]["Document"].clone();
    assert_eq!(document, policy(&made["MachineRole"]));

    // As it stands in the template it is that of a stack of the default name, word for word.
    let text = template()["Resources"]["SitePolicy"]["Properties"]["PolicyDocument"].to_string();
    let pieces: Vec<_> = text.split(r#"{"Fn::Sub":""#).collect();
    let plain = pieces.iter().enumerate().map(|(at, piece)| {
        if at == 0 { (*piece).to_owned() } else { format!("\"{}", piece.replacen("\"}", "\"", 1)) }
    });
    let plain = plain.collect::<String>().replace("${AWS::StackName}", "ec-deployer");
    assert_eq!(serde_json::from_str::<Value>(&plain).unwrap(), policy("ec-deployer-machine"));

    // What the server may besides, in its role.
    let role = &made["ServerRole"];
    let listed = computer.aws(&["iam", "list-role-policies", "--role-name", role]);
    let names: BTreeSet<_> =
        listed["PolicyNames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(names, BTreeSet::from(["backups", "parameters", "releases"]));
    let backups = computer.aws(&["iam", "get-role-policy", "--role-name", role, "--policy-name", "backups"]);
    let bucket = format!("arn:aws:s3:::{}-backups-{ACCOUNT}-{}", computer.stack, computer.region);
    // moto gives a role's own policy as Python writes it.
    let document = backups["PolicyDocument"].to_string();
    for resource in [format!("'Resource': '{bucket}'"), format!("'Resource': '{bucket}/*'")] {
        assert_eq!(document.matches(&resource).count(), 1, "{document}");
    }
    let machine = computer.aws(&["iam", "list-role-policies", "--role-name", &made["MachineRole"]]);
    assert_eq!(machine["PolicyNames"], json!(["no-parameters"]));

    // Who is let in: everybody, to the pages.
    for (group, ports) in [("MachineGroup", json!([80])), ("ServerGroup", json!([80, 443]))] {
        let found = computer.aws(&["ec2", "describe-security-groups", "--group-ids", &made[group]]);
        let open: Vec<_> = found["SecurityGroups"][0]["IpPermissions"].as_array().unwrap().iter().collect();
        let from: Vec<_> = open.iter().map(|rule| rule["FromPort"].clone()).collect();
        let to: Vec<_> = open.iter().map(|rule| rule["ToPort"].clone()).collect();
        assert_eq!((json!(from), json!(to)), (ports.clone(), ports), "{group}");
    }
    let found = computer.aws(&["ec2", "describe-instances", "--instance-ids", &made["Server"]]);
    let tags = &found["Reservations"][0]["Instances"][0]["Tags"];
    let value = |key: &str| {
        tags.as_array().unwrap().iter().find(|tag| tag["Key"] == key).map(|tag| tag["Value"].clone())
    };
    assert_eq!(value("ec-deployer:role"), Some(json!("site")));
    assert_eq!(value("ManagedBy"), None, "the site may terminate its own server");
}

#[test]
fn the_server_is_told_where_its_things_are() {
    let computer = Computer::new();
    computer.create(&[
        ("BackupBucket", "kept"),
        ("Domain", "deploy.example.com"),
        ("Email", "mira@example.com"),
    ]);
    let made = computer.resources();
    assert!(!made.contains_key("Backups"), "there is one already");
    assert_eq!(computer.setting("SITE_DOMAIN"), "deploy.example.com");
    assert_eq!(computer.setting("SITE_EMAIL"), "mira@example.com");
    assert_eq!(computer.of_stack("Outputs", "SiteUrl"), "https://deploy.example.com");

    let asked =
        ["ec2", "describe-instance-attribute", "--attribute", "userData", "--instance-id", &made["Server"]];
    let encoded = computer.aws(&asked)["UserData"]["Value"].as_str().unwrap().to_owned();
    let script = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
    fs::write(computer.path("user-data.sh"), &script).unwrap();
    let file = computer.path("user-data.sh");
    let checked = Command::new("shellcheck").arg(&file).stdout(Stdio::piped()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));

    // Twice, as cloud-init may; below another root.
    let root = computer.path("root");
    let moved = script.replace("/etc/ec-deployer", root.to_str().unwrap());
    assert_eq!(
        moved.matches(root.to_str().unwrap()).count(),
        script.matches("/etc").count(),
        "it touches nothing else"
    );
    for _ in 0..2 {
        let run = Command::new("bash").args(["-c", &moved]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    let wanted = format!(
        "AWS_REGION={}\nPARAMETERS=/{}/site/\nDATA_VOLUME={}\nBACKUP_BUCKET=kept\n",
        computer.region, computer.stack, made["DataVolume"]
    );
    assert_eq!(fs::read_to_string(root.join("server.env")).unwrap(), wanted);
    assert_eq!(fs::metadata(root.join("server.env")).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
}
