//! How machines and the site come together: the listener that they reach, and the cloud that is prepared for them.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Ended, http};
use crate::{
    cloud::{Cloud, CloudError},
    config::{Config, Origin},
    domain::Readiness,
    store::Store,
};

/// How often the listener for machines is tried again while its address is missing.
const REBIND: Duration = Duration::from_secs(10);

/// Listens on the bridge's address, which is there once the cloud is prepared, and tells whether machines can be
/// launched: not while the cloud is not prepared, and not while they could not report.
pub(super) async fn listen_for_machines(
    config: &Config,
    cloud: &Cloud,
    store: &Store,
) -> Option<TcpListener> {
    let port = config.callback_url().parse::<Origin>().map_or(8001, |origin| origin.port());
    let address = SocketAddr::new(IpAddr::V4(config.local_subnet.gateway()), port);
    let bound = match cloud.prepare().await {
        Ok(()) => TcpListener::bind(address).await.map_err(|error| {
            format!(
                "Machines could not reach this site, since it cannot listen on {address} ({error}): free that port, or \
                 choose another by CALLBACK_URL."
            )
        }),
        Err(error) => Err(error.sentence),
    };
    match bound {
        Ok(listener) => {
            tracing::info!(%address, "machines reach the site");
            store.set_readiness(Readiness::Ready);
            Some(listener)
        }
        Err(reason) => {
            not_ready(store, reason);
            None
        }
    }
}

fn not_ready(store: &Store, reason: String) {
    if store.set_readiness(Readiness::NotReady(reason.clone())) {
        tracing::error!(reason, "no machines can be launched; it is tried again");
    }
}

/// Prepares a cloud that is the one that the site's machines are in, and no other.
async fn prepare_here(cloud: &Cloud, store: &Store) -> Result<(), CloudError> {
    let here = cloud.whereabouts().await?;
    let there = store.whereabouts(&here).await;
    let there =
        there.map_err(|error| CloudError::later("The site cannot use its database.").because(error))?;
    if there != here {
        return Err(CloudError::never(format!(
            "The site's machines are in {there}, and its settings lead to {here}: give it the account and the region that its machines are in, or terminate them first."
        )));
    }
    cloud.prepare().await
}

/// Why machines in another place could never report to this site: then none is launched. Where addresses are mapped
/// the machines are a test's, and may be here.
pub(super) fn unreachable_callback(config: &Config) -> Option<String> {
    let url = config.callback_url();
    let ip: IpAddr = url::Url::parse(&url).ok()?.host_str()?.trim_matches(['[', ']']).parse().ok()?;
    let never = ip.is_loopback() || ip.is_unspecified();
    (never && config.ec2.address_map.is_empty()).then(|| {
        format!(
            "Machines could not report to this site at {url}: set PUBLIC_URL, or CALLBACK_URL, to an address at which machines on EC2 reach it, and start it again."
        )
    })
}

/// Prepares a cloud whose machines reach the site where people do, and tries again while that fails.
pub(super) async fn prepare_cloud(
    cloud: Cloud,
    store: Store,
    unreachable: Option<String>,
    shutdown: CancellationToken,
) -> Ended {
    if let Some(why) = unreachable {
        not_ready(&store, why);
        shutdown.cancelled().await;
        return Ended::Asked("cloud");
    }
    loop {
        let prepared = tokio::select! {
            () = shutdown.cancelled() => return Ended::Asked("cloud"),
            prepared = prepare_here(&cloud, &store) => prepared,
        };
        match prepared {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the cloud is not prepared");
                not_ready(&store, error.sentence);
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ended::Asked("cloud"),
            () = tokio::time::sleep(REBIND) => {}
        }
    }
    store.set_readiness(Readiness::Ready);
    shutdown.cancelled().await;
    Ended::Asked("cloud")
}

/// Serves machines. Where their listener could not be had at the start, it is tried again.
pub(super) async fn serve_machines(
    config: Config,
    cloud: Cloud,
    store: Store,
    mut bound: Option<TcpListener>,
    serves_samples: Arc<AtomicBool>,
    router: axum::Router,
    shutdown: CancellationToken,
) -> Ended {
    while bound.is_none() {
        tokio::select! {
            () = shutdown.cancelled() => return Ended::Asked("machines"),
            () = tokio::time::sleep(REBIND) => bound = listen_for_machines(&config, &cloud, &store).await,
        }
    }
    let Some(listener) = bound else { return Ended::Asked("machines") };
    serves_samples.store(true, Ordering::Relaxed);
    http::serve("machines", listener, router, shutdown).await
}
