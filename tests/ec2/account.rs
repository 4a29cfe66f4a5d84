//! An account as an admin of a site prepares it: a network, a security group that opens port 80, a key pair, an
//! instance profile, and an image.

use aws_sdk_ec2::{
    Client,
    types::{BlockDeviceMapping, EbsBlockDevice, Filter, Instance, InstanceStateName, IpPermission, IpRange},
};

use crate::moto;

/// The name of the key pair and of the instance profile.
pub const NAME: &str = "ec-machines";

/// A prepared account. Its client goes past the proxy: it tells what really is there, and does what happens outside
/// the site.
pub struct Account {
    pub id: String,
    pub client: Client,
    /// The default VPC's subnets, each in a zone of its own.
    pub subnets: Vec<String>,
    pub group: String,
    pub image: String,
}

impl Account {
    pub async fn prepare() -> Self {
        let id = moto::next_account();
        // Starting moto takes a second, in which other tasks are to go on.
        let client = tokio::task::spawn_blocking({
            let id = id.clone();
            move || moto::client(&id)
        });
        let client = client.await.unwrap();
        let subnets = client.describe_subnets().send().await.unwrap().subnets.unwrap();
        let vpc = subnets[0].vpc_id.clone().unwrap();
        let mut by_zone: Vec<_> = subnets.into_iter().collect();
        by_zone.sort_by(|a, b| a.availability_zone.cmp(&b.availability_zone));
        let subnets = by_zone.into_iter().map(|subnet| subnet.subnet_id.unwrap()).collect();

        let group = client.create_security_group().group_name(NAME).description("Machines").vpc_id(vpc);
        let group = group.send().await.unwrap().group_id.unwrap();
        let web = IpPermission::builder().ip_protocol("tcp").from_port(80).to_port(80);
        let web = web.ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build()).build();
        client.authorize_security_group_ingress().group_id(&group).ip_permissions(web).send().await.unwrap();
        client.create_key_pair().key_name(NAME).send().await.unwrap();
        moto::iam(&id).create_instance_profile().instance_profile_name(NAME).send().await.unwrap();
        let image = register_image(&client, "golden").await;
        Self { id, client, subnets, group, image }
    }

    /// Every machine, terminated ones too.
    pub async fn machines(&self) -> Vec<Instance> {
        let mut pages = self.client.describe_instances().into_paginator().items().send();
        let mut machines = Vec::new();
        while let Some(reservation) = pages.next().await {
            machines.extend(reservation.unwrap().instances.unwrap_or_default());
        }
        machines
    }

    /// One machine.
    pub async fn machine(&self, id: &str) -> Instance {
        let answer = self.client.describe_instances().instance_ids(id).send().await.unwrap();
        answer.reservations.unwrap().remove(0).instances.unwrap().remove(0)
    }

    pub async fn state(&self, id: &str) -> InstanceStateName {
        self.machine(id).await.state.unwrap().name.unwrap()
    }

    /// The snapshots of this account's own.
    pub async fn snapshots(&self) -> Vec<aws_sdk_ec2::types::Snapshot> {
        let own = Filter::builder().name("owner-id").values(&self.id).build();
        self.client.describe_snapshots().filters(own).send().await.unwrap().snapshots.unwrap_or_default()
    }

    /// The images of this account's own.
    pub async fn images(&self) -> Vec<aws_sdk_ec2::types::Image> {
        let answer = self.client.describe_images().owners("self").send().await.unwrap();
        answer.images.unwrap_or_default()
    }

    /// What a machine was given as user data, as cloud-init would read it.
    pub async fn user_data(&self, id: &str) -> Vec<u8> {
        use aws_sdk_ec2::types::InstanceAttributeName::UserData;
        use base64::{Engine, engine::general_purpose::STANDARD};
        let asked = self.client.describe_instance_attribute().instance_id(id).attribute(UserData);
        let value = asked.send().await.unwrap().user_data.unwrap().value.unwrap();
        STANDARD.decode(value).unwrap()
    }
}

/// An image with a disk of 8 GiB.
pub async fn register_image(client: &Client, name: &str) -> String {
    let zone = format!("{}a", moto::REGION);
    let volume = client.create_volume().availability_zone(zone).size(8).send().await.unwrap();
    let volume = volume.volume_id.unwrap();
    let snapshot = client.create_snapshot().volume_id(&volume).send().await.unwrap().snapshot_id.unwrap();
    client.delete_volume().volume_id(volume).send().await.unwrap();
    let disk = EbsBlockDevice::builder().snapshot_id(snapshot).volume_size(8).build();
    let disk = BlockDeviceMapping::builder().device_name("/dev/sda1").ebs(disk).build();
    let image = client.register_image().name(name).root_device_name("/dev/sda1").block_device_mappings(disk);
    image.send().await.unwrap().image_id.unwrap()
}
