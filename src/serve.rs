//! Runs the site: its two listeners, the reconciler and the baker, until it is asked to end.

mod http;
mod machines;

use std::{
    fs::File,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use machines::{listen_for_machines, prepare_cloud, serve_machines, unreachable_callback};
use nix::fcntl::Flock;
use tokio::{net::TcpListener, signal::unix::SignalKind, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    backup,
    cloud::{
        Cloud, CloudError,
        local::{Local, LocalConfig},
    },
    config::{CloudKind, Config, Ec2Args, Listen, Origin},
    domain::{NameError, Readiness},
    keys,
    preflight::Preflight,
    reconciler::{self, Baker, Reconciler},
    rotation::{self, RotationError},
    samples::{Samples, SamplesError},
    spool::{Limits, Spool},
    store::{Store, StoreError},
    web::{self, Site},
};

/// How often expired sessions are removed.
const PRUNE: Duration = Duration::from_secs(3600);
/// How often files that machines sent are looked through for those whose hour is over.
const PRUNE_FETCHED: Duration = Duration::from_secs(60);

/// How a half of the site ended.
enum Ended {
    /// As it was asked to.
    Asked(&'static str),
    /// By itself.
    Broken(&'static str),
}

/// The site could not start, or ended by a failure.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory.
    #[error("the state directory: {0}")]
    State(#[source] io::Error),
    /// An address to listen on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The socket that standard input should be.
    #[error("LISTEN=stdin: {0}")]
    Stdin(#[source] io::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sample repositories.
    #[error(transparent)]
    Samples(#[from] SamplesError),
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// A bake.
    #[error(transparent)]
    Bake(#[from] reconciler::BakeError),
    /// A half of the site ended by itself.
    #[error("a half of the site broke off: {0}")]
    Broken(&'static str),
    /// A change of keys that was broken off.
    #[error(transparent)]
    Keys(#[from] Box<RotationError>),
    /// A setting.
    #[error("a setting: {0}")]
    Setting(#[from] NameError),
    /// The client that asks projects for their pages.
    #[error("no connections can be opened: {0}")]
    Client(#[from] reqwest::Error),
}

/// Opens what every subcommand needs: the state directory and the store in it.
///
/// # Errors
/// Where one of them cannot be opened.
pub async fn open_store(config: &Config) -> Result<Store, ServeError> {
    keys::make_state_dir(&config.state_dir).map_err(ServeError::State)?;
    backup::refuse_half_restored(&config.state_dir).map_err(ServeError::State)?;
    let store = Store::open(&config.database_url()).await?;
    with_settings(config, store)
}

/// The same for whoever holds the state directory's lock, and so may put right what was broken off.
///
/// # Errors
/// Where the store cannot be opened.
pub(crate) async fn open_alone(config: &Config, _lock: &Flock<File>) -> Result<Store, ServeError> {
    backup::refuse_half_restored(&config.state_dir).map_err(ServeError::State)?;
    let store = Store::open(&config.database_url()).await?;
    rotation::settle(&config.state_dir, &store).await.map_err(Box::new)?;
    with_settings(config, store)
}

fn with_settings(config: &Config, store: Store) -> Result<Store, ServeError> {
    let vault = keys::vault(&config.state_dir).map_err(ServeError::State)?;
    Ok(store.with_max_instances(config.max_instances_per_owner).with_vault(vault))
}

/// Runs the site until SIGTERM or SIGINT.
///
/// # Errors
/// Where it cannot start.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    config.check()?;
    keys::make_state_dir(&config.state_dir).map_err(ServeError::State)?;
    // Before the database is opened, which may bring it to a newer schema.
    let lock = keys::lock(&config.state_dir).map_err(ServeError::State)?;
    let store = open_alone(&config, &lock).await?;
    let log_key = keys::log_key(&config.state_dir).map_err(ServeError::State)?;
    let site_id = store.site().await?;
    let cloud = open_cloud(&config, &site_id).await?;
    let listener = http::open(config.listen).await?;
    let for_metrics = match config.metrics_listen {
        Some(address) => Some(http::bind(address).await?),
        None => None,
    };
    let own_listener = config.cloud == CloudKind::Local;
    // Before anybody is told where the site is: until the bridge has its address, what goes there leaves the host.
    let for_machines = if own_listener { listen_for_machines(&config, &cloud, &store).await } else { None };
    let samples = Samples::prepare(&config.state_dir.join("samples"))?;

    let everywhere = config.listen.address().is_some_and(|address| address.ip().is_unspecified());
    if everywhere && config.public_url.is_none() {
        tracing::warn!(
            "PUBLIC_URL is not set: links that others are given, to set a password, lead to {}",
            config.public_url()
        );
    }
    let shutdown = CancellationToken::new();
    let preflight = Preflight::new(config.state_dir.join("preflight"));
    let serves_samples = Arc::new(AtomicBool::new(for_machines.is_some() || !own_listener));
    let spool =
        Spool::open(config.state_dir.join("fetches"), Limits::default()).map_err(ServeError::State)?;
    let settings = web_settings(&config, &cloud, serves_samples.clone(), spool.clone());
    let site = Site::new(store.clone(), preflight, log_key.clone(), settings, shutdown.clone());
    let machines = web::callback_router(site.clone()).merge(web::observed(&site, samples.router()));
    let baker = Baker::new(store.clone(), cloud.clone()).with_metrics(site.metrics().clone());
    let settings = reconciler::Settings {
        site: site_id,
        callback_url: config.callback_url(),
        parallel: usize::from(config.parallel_launches),
        address_map: config.ec2.address_map.clone(),
    };
    let reconciler = Reconciler::new(store.clone(), cloud.clone(), log_key, baker.clone(), settings)?
        .with_metrics(site.metrics().clone());

    if !own_listener {
        // Until the cloud is prepared nothing begins there: what interrupted bakes left is ended first.
        store.set_readiness(Readiness::NotReady(
            "This site has just started, and is looking whether it reaches AWS.".into(),
        ));
    }
    say_where(&config, &store, &site).await?;
    let mut halves = JoinSet::new();
    halves.spawn(end_on_signal(shutdown.clone()));
    if let Some(listener) = for_metrics {
        halves.spawn(serve_metrics(listener, web::metrics_router(site.clone()), shutdown.clone()));
    }
    let unreachable = unreachable_callback(&config);
    if own_listener {
        halves.spawn(http::serve("web", listener, web::router(site), shutdown.clone()));
        halves.spawn(serve_machines(
            config.clone(),
            cloud.clone(),
            store.clone(),
            for_machines,
            serves_samples,
            machines,
            shutdown.clone(),
        ));
    } else {
        halves.spawn(http::serve("web", listener, web::router(site).merge(machines), shutdown.clone()));
        halves.spawn(prepare_cloud(cloud.clone(), store.clone(), unreachable, shutdown.clone()));
    }
    halves.spawn(prune_sessions(store.clone(), shutdown.clone()));
    halves.spawn(prune_fetched(store.clone(), spool, shutdown.clone()));
    halves.spawn(named("fetcher", reconciler.fetcher().run(shutdown.clone()), shutdown.clone()));
    halves.spawn(named("orphans", reconciler.orphans().run(shutdown.clone()), shutdown.clone()));
    halves.spawn(named("reconciler", reconciler.run(shutdown.clone()), shutdown.clone()));
    halves.spawn(named("baker", baker.run(shutdown.clone()), shutdown.clone()));
    let mut broken = None;
    while let Some(ended) = halves.join_next().await {
        match ended {
            Ok(Ended::Asked(name)) => tracing::info!(half = name, "ended"),
            Ok(Ended::Broken(name)) => broken = Some(ServeError::Broken(name)),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a half of the site panicked");
                broken = Some(ServeError::Broken("one that panicked"));
            }
        }
        shutdown.cancel();
    }
    cloud.release().await;
    store.close().await;
    broken.map_or(Ok(()), Err)
}

/// Bakes a golden image now and tells its log.
///
/// # Errors
/// Where the bake fails.
pub async fn bake(config: Config) -> Result<(), ServeError> {
    keys::make_state_dir(&config.state_dir).map_err(ServeError::State)?;
    // Before the database is opened, which may bring it to a newer schema.
    let lock = keys::lock(&config.state_dir).map_err(ServeError::State)?;
    let store = open_alone(&config, &lock).await?;
    let cloud = open_cloud(&config, &store.site().await?).await?;
    cloud.prepare().await?;
    let baker = Baker::new(store.clone(), cloud.clone());
    let result = baker.bake().await;
    if let Some(image) = store.newest_image().await? {
        let log = store.image_log(image.id).await?;
        print!("{}", String::from_utf8_lossy(&log));
    }
    cloud.release().await;
    store.close().await;
    println!("baked golden image {}", result?);
    Ok(())
}

/// The cloud of the settings. Does nothing there yet.
pub(crate) async fn open_cloud(config: &Config, site: &str) -> Result<Cloud, ServeError> {
    match config.cloud {
        CloudKind::Local => Ok(Cloud::Local(Local::new(LocalConfig {
            state_dir: std::path::absolute(config.state_dir.join("local")).map_err(ServeError::State)?,
            bridge: config.local_bridge.clone(),
            gateway: config.local_subnet.gateway(),
            prefix: config.local_subnet.prefix(),
            callback_port: config.callback_url().parse::<Origin>()?.port(),
            site: site.to_owned(),
            program: std::env::current_exe().map_err(ServeError::State)?,
            copy_host_trust: true,
        }))),
        #[cfg(feature = "ec2")]
        CloudKind::Ec2 => Ok(Cloud::Ec2(crate::cloud::ec2::Ec2::new(ec2_config(config, site)).await)),
    }
}

/// What of the settings is EC2's.
#[cfg(feature = "ec2")]
fn ec2_config(config: &Config, site: &str) -> crate::cloud::ec2::Ec2Config {
    let given = &config.ec2;
    // A variable that is there and empty says nothing.
    let said = |value: &Option<String>| {
        value.as_deref().map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let listed = |values: &[String]| -> Vec<String> {
        values.iter().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
    };
    crate::cloud::ec2::Ec2Config {
        site: site.to_owned(),
        golden_ami: said(&given.golden_ami),
        launch_template: said(&given.launch_template),
        machine_type: given.instance_type.clone(),
        machine_types: given.instance_types.clone(),
        subnets: listed(&given.subnet_ids),
        security_groups: listed(&given.security_group_ids),
        instance_profile: said(&given.instance_profile),
        key_pair: said(&given.key_pair),
        disk_gib: given.disk_gib,
        base_ami: said(&given.base_ami),
        elastic_ip: given.elastic_ip,
        callback_url: config.callback_url(),
    }
}

/// What pages need to know.
fn web_settings(
    config: &Config,
    cloud: &Cloud,
    serves_samples: Arc<AtomicBool>,
    spool: Spool,
) -> web::Settings {
    web::Settings {
        public_url: config.public_url(),
        callback_url: config.callback_url(),
        git_hosts: config.git_hosts.clone(),
        serves_samples,
        trusted_proxies: config.trusted_proxies.clone(),
        cloud: config.cloud.name(),
        offer: match cloud {
            Cloud::Local(_) => None,
            #[cfg(feature = "ec2")]
            Cloud::Ec2(ec2) => Some(offer(&config.ec2, ec2.region_name().map(str::to_owned))),
        },
        site_domain: config.site_domain.clone().filter(|name| !name.is_empty()),
        secure_cookies: config.public_url.as_ref().is_some_and(Origin::is_https),
        spool,
        release: config.release.clone().filter(|name| !name.is_empty()),
    }
}

/// The machines that forms offer, and what makes their price; without a region nothing is said of prices.
pub fn offer(ec2: &Ec2Args, region: Option<String>) -> web::Offer {
    web::Offer {
        types: ec2.instance_types.clone(),
        default: ec2.instance_type.clone(),
        region,
        disk_gib: ec2.disk_gib,
        elastic_ip: ec2.elastic_ip,
    }
}

/// Tells the person at the terminal where the site is, and how the first admin is created.
async fn say_where(config: &Config, store: &Store, site: &Site) -> Result<(), StoreError> {
    println!("EC Django Deployer {} is at {}", crate::VERSION, config.public_url());
    if store.has_users().await? {
        return Ok(());
    }
    if config.listen == Listen::Stdin {
        // What is printed goes to a log, in which a link that makes an admin has no place.
        println!("Create the first admin: ec-deployer user add NAME --admin");
    } else {
        println!("Create the first admin, with this link that works once: {}", site.setup_link());
    }
    Ok(())
}

/// A half that ends when it is asked to, and broke off where it ends before.
async fn named(name: &'static str, half: impl Future<Output = ()>, shutdown: CancellationToken) -> Ended {
    half.await;
    if shutdown.is_cancelled() { Ended::Asked(name) } else { Ended::Broken(name) }
}

async fn end_on_signal(shutdown: CancellationToken) -> Ended {
    let signals = tokio::signal::unix::signal(SignalKind::terminate());
    match signals {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
            () = shutdown.cancelled() => {}
        },
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "signals cannot be listened to");
            shutdown.cancelled().await;
        }
    }
    Ended::Asked("signals")
}

/// Serves those who watch over the site.
async fn serve_metrics(listener: TcpListener, router: axum::Router, shutdown: CancellationToken) -> Ended {
    if let Ok(address) = listener.local_addr() {
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the metrics can be read from other hosts: METRICS_LISTEN is not a loopback address");
        }
        tracing::info!(%address, "metrics are served");
    }
    http::serve("metrics", listener, router, shutdown).await
}

async fn prune_sessions(store: Store, shutdown: CancellationToken) -> Ended {
    loop {
        if let Err(error) = store.prune_sessions().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "expired sessions could not be removed"
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ended::Asked("sessions"),
            () = tokio::time::sleep(PRUNE) => {}
        }
    }
}

async fn prune_fetched(store: Store, spool: Spool, shutdown: CancellationToken) -> Ended {
    loop {
        if let Err(error) = spool.sweep(&store).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "files that machines sent could not be removed"
            );
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ended::Asked("files that machines sent"),
            () = tokio::time::sleep(PRUNE_FETCHED) => {}
        }
    }
}
