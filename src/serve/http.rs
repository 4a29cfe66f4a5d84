//! The listeners of the site: where their sockets come from, and how a server ends without losing a request.
//!
//! axum ends gracefully what is under way, but closes at once each connection of which it has read nothing yet, though
//! its request may be on the way. So a listener that is asked to end first takes no more connections, and for a moment
//! still answers what comes on those that it has, telling with each answer that it was the last; then axum ends. What
//! nobody has accepted stays in the socket's queue, for the next site where the socket outlives this one.

use std::{future::IntoFuture, io, net::SocketAddr, os::fd::AsFd, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request, connect_info::Connected},
    http::{HeaderValue, header::CONNECTION},
    middleware::{self, Next},
    response::Response,
    serve::IncomingStream,
};
use socket2::{Domain, SockRef, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{Ended, ServeError};
use crate::config::Listen;

/// How long connections are still listened to after the site was asked to end: longer than a request takes from a
/// client on another continent, whose connection was accepted just before.
const LINGER: Duration = Duration::from_secs(1);
/// How long requests under way may take after that.
const DRAIN: Duration = Duration::from_secs(8);

/// The site's listening socket.
pub(super) async fn open(listen: Listen) -> Result<TcpListener, ServeError> {
    match listen {
        Listen::Address(address) => bind(address).await,
        Listen::Stdin => from_stdin().map_err(ServeError::Stdin),
    }
}

/// Listens on an address.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|error| ServeError::Listen(address, error))
}

/// The socket that standard input is. In its place comes `/dev/null`, so that no process that the site starts holds it.
fn from_stdin() -> io::Result<TcpListener> {
    let stdin = io::stdin();
    let socket = stdin.as_fd().try_clone_to_owned()?;
    let seen = SockRef::from(&socket);
    let is_tcp = || -> io::Result<bool> {
        let family = seen.domain()?;
        Ok(seen.r#type()? == Type::STREAM
            && (family == Domain::IPV4 || family == Domain::IPV6)
            && seen.is_listener()?)
    };
    if !is_tcp().unwrap_or(false) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "standard input is no listening TCP socket"));
    }
    let socket = std::net::TcpListener::from(socket);
    socket.set_nonblocking(true)?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    TcpListener::from_std(socket)
}

/// Accepts until the site is asked to end. The socket is closed then, so that who comes later is refused at once or,
/// where the socket outlives the site, waits for the next one.
struct Door {
    listener: Option<TcpListener>,
    address: SocketAddr,
    shutdown: CancellationToken,
}

impl axum::serve::Listener for Door {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => {}
                accepted = axum::serve::Listener::accept(listener) => return accepted,
            }
        }
        self.listener = None;
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

/// Who is at the other end of a connection that came by a [`Door`].
#[derive(Clone, Copy)]
struct Peer(SocketAddr);

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Serves a listener until the site is asked to end. Requests under way are finished, for a while.
pub(super) async fn serve(
    name: &'static str,
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> Ended {
    let address = match listener.local_addr() {
        Ok(address) => address,
        Err(error) => {
            tracing::error!(server = name, error = &error as &dyn std::error::Error, "a listener broke off");
            return Ended::Broken(name);
        }
    };
    let ends = shutdown.clone();
    let router = router.layer(middleware::from_fn(move |request, next| answer(request, next, ends.clone())));
    let door = Door { listener: Some(listener), address, shutdown: shutdown.clone() };
    let asked = shutdown.clone();
    let lingered = async move {
        asked.cancelled().await;
        tokio::time::sleep(LINGER).await;
    };
    let patience = async {
        shutdown.cancelled().await;
        tokio::time::sleep(LINGER + DRAIN).await;
    };
    let service = router.into_make_service_with_connect_info::<Peer>();
    let server = axum::serve(door, service).with_graceful_shutdown(lingered);
    tokio::select! {
        // It ends as it was asked to and in no other way.
        _ = server.into_future() => {}
        () = patience => tracing::warn!(server = name, "requests under way were given up"),
    }
    Ended::Asked(name)
}

/// Tells the handlers who asks, and the client that the connection ends with this answer where the site does.
async fn answer(mut request: Request, next: Next, shutdown: CancellationToken) -> Response {
    if let Some(ConnectInfo(Peer(address))) = request.extensions().get().copied() {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    let mut response = next.run(request).await;
    if shutdown.is_cancelled() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
