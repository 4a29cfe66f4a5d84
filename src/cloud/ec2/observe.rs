//! What machines this site has, in as few requests as EC2 allows.

use std::{error::Error, net::IpAddr};

use aws_sdk_ec2::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    types::{Filter, Instance, InstanceStateName},
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Ec2,
    errors::{Asked, code},
    tags,
};
use crate::{
    cloud::{CloudError, Machine, MachineState},
    domain::InstanceId,
};

/// Machines in one page of a listing, the most that EC2 gives.
/// <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>
const PAGE: i32 = 1000;
/// Values of one filter, the most that EC2 takes.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html>
const VALUES: usize = 200;

impl Ec2 {
    /// Every machine of this site, builders left out: one request for each 1,000.
    ///
    /// # Errors
    /// Where EC2 cannot say.
    pub async fn list(&self) -> Result<Vec<Machine>, CloudError> {
        let found = self.describe(vec![self.ours()]).await?;
        let machines = found.iter().filter(|machine| tags::value(machine.tags(), tags::BAKE).is_none());
        Ok(machines.filter_map(machine).collect())
    }

    /// Those of these machines that EC2 knows, whatever tags they carry: one request for each 200. A filter says
    /// nothing of those that it does not know, where asking by id would fail for all of them.
    ///
    /// # Errors
    /// Where EC2 cannot say.
    pub async fn find(&self, ids: &[InstanceId]) -> Result<Vec<Machine>, CloudError> {
        let mut machines = Vec::new();
        for some in ids.chunks(VALUES) {
            let filter = tags::filter("instance-id", some.iter().map(InstanceId::as_str));
            machines.extend(self.describe(vec![filter]).await?.iter().filter_map(machine));
        }
        Ok(machines)
    }

    /// The machine that a launch token has brought, where EC2 shows it.
    pub(super) async fn of_token(&self, token: &str) -> Result<Option<Instance>, CloudError> {
        let found = self.describe(vec![self.ours(), tags::with(tags::TOKEN, token)]).await?;
        Ok(found.into_iter().next())
    }

    /// Every machine that these filters let through.
    pub(super) async fn describe(&self, filters: Vec<Filter>) -> Result<Vec<Instance>, CloudError> {
        let mut pages = self
            .0
            .ec2
            .describe_instances()
            .set_filters(Some(filters))
            .max_results(PAGE)
            .into_paginator()
            .send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.explain("DescribeInstances", error))?;
            found.extend(
                page.reservations
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|some| some.instances.unwrap_or_default()),
            );
        }
        Ok(found)
    }

    /// The last of the machine's console, at most 64 KiB. On Nitro what it shows now; elsewhere what EC2 kept of its
    /// last start.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn console(&self, id: &InstanceId) -> Result<Vec<u8>, CloudError> {
        let ask = |latest| self.0.ec2.get_console_output().instance_id(id.as_str()).latest(latest).send();
        let answer = match ask(true).await {
            // Other than Nitro's machines have no console as of now, and a stopped one may have none.
            Err(error) if code(&error) == Some("UnsupportedOperation") => ask(false).await,
            Ok(answer) if answer.output().is_none_or(str::is_empty) => ask(false).await,
            answer => answer,
        };
        let text =
            answer.map_err(|error| self.explain("GetConsoleOutput", error))?.output.unwrap_or_default();
        STANDARD
            .decode(text.split_whitespace().collect::<String>())
            .map_err(|error| CloudError::later("AWS's copy of the console cannot be read.").because(error))
    }

    /// An error of EC2 in people's words.
    pub(super) fn explain<E>(&self, operation: &'static str, error: SdkError<E, HttpResponse>) -> CloudError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        Asked { service: "ec2", operation, region: self.region() }.explain(error)
    }
}

/// A machine as EC2 tells it; none where it has no id that is one.
pub(super) fn machine(told: &Instance) -> Option<Machine> {
    let id = told.instance_id()?.parse().ok()?;
    let public_ip = told.public_ip_address().and_then(|ip| ip.parse::<IpAddr>().ok());
    let tag = |key| tags::value(told.tags(), key);
    let token = tag(tags::TOKEN).unwrap_or_default().to_owned();
    let instance = tag(tags::INSTANCE).and_then(|name| name.parse().ok());
    // Why EC2 ended it by itself; what people ask for is no failure.
    let reason = told.state_reason().filter(|why| why.code() != Some("Client.UserInitiatedShutdown"));
    let reason = reason.and_then(|why| why.message()).map(str::to_owned);
    Some(Machine { id, token, instance, state: state(told), reason, public_ip })
}

/// What a machine does. A state that EC2 may get later is taken for one on the way.
fn state(told: &Instance) -> MachineState {
    match told.state().and_then(|state| state.name()) {
        Some(InstanceStateName::Running) => MachineState::Running,
        Some(InstanceStateName::Stopping) => MachineState::Stopping,
        Some(InstanceStateName::Stopped) => MachineState::Stopped,
        Some(InstanceStateName::ShuttingDown) => MachineState::Terminating,
        Some(InstanceStateName::Terminated) => MachineState::Terminated,
        _ => MachineState::Pending,
    }
}
