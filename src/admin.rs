//! The admin server: health, metrics, and what pilot knows, over HTTP/1.
//!
//! All requests read, but for the one that releases what a guard holds. A plan is sent, and changes nothing. By default it listens on loopback.
//! There it refuses requests whose Host header names no local host, so that no web page reaches it through a
//! DNS name of its own. Requests that change something are refused if they come from a web page of another
//! origin.

mod explain;
mod plan;
mod proxies;
mod query;
mod reach;
mod readiness;
mod refusals;
mod registries;
mod reply;
mod resources;
mod routes;
mod rules;
mod services;
mod stranger;
mod thread;
mod version;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::HOST;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::opening::{Opening, Rewound, WireProtocol};
use crate::own_ports::OwnPorts;
use crate::proxies::Proxies;
use crate::shutdown::Shutdown;
use crate::world::World;

use stranger::Strangers;

pub use explain::{
    DestinationReport, EndpointStep, ExplainReport, HostStep, LeftOutReport, ListenerStep, RouteStep,
    ShadowedReport,
};
pub use plan::{
    ChangeKind, PlanFile, PlanReport, PlanRequest, PlannedAs, PlannedChange, PlannedDocument, PlannedGroup,
};
pub use proxies::{ProxyReport, ServedReport, WorkloadReport};
pub(crate) use query::encode;
pub use reach::{MissingReport, ReachReport, WaitedReport, Why};
pub use readiness::{Readiness, WaitingFor};
pub use registries::{
    DiskReport, HeldReport, LastErrorReport, RegistryReport, RegistryTrouble, Released, WatchReport,
};
pub use reply::{Failure, Reply};
pub use resources::{ResourceReport, ResourcesReport};
pub use rules::{DocumentReport, RulesReport, StoreReport};
pub use services::{DisagreementReport, EndpointReport, ServiceReport, ServiceSummary, ServicesReport};
pub(crate) use thread::AdminThread;
pub use version::VersionReport;

/// More connections than this wait until others end.
const CONNECTIONS_MAX: usize = 256;
/// A client has this long to send a request's head. So long may connections that say nothing keep a probe of
/// /livez waiting, and probes give up after few seconds.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(3);
/// However slowly a client reads, and however long it keeps its connection, it ends then.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// Requests under way have this long when the server ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// After an error to accept (out of file descriptors), the next attempt waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So many requests wait at a time for what proxies do; others are answered at once.
const WAITS_MAX: usize = 64;
/// Answers whose cost grows with the mesh: so many at once, the others wait.
const LARGE_ANSWERS_MAX: usize = 2;

/// What the admin server shows.
#[derive(Clone)]
pub struct Admin {
    /// Registries and what is made of them.
    pub world: World,
    /// Who is connected.
    pub proxies: Proxies,
    /// What is counted.
    pub metrics: Metrics,
    /// Where pilot listens: for those who look for xDS here, and for services that have such a port.
    pub own: OwnPorts,
    /// The end: from its beginning, pilot takes no new proxies.
    pub shutdown: Shutdown,
}

/// One server: what it shows, and what it guards.
struct Server {
    admin: Admin,
    large_answers: Arc<Semaphore>,
    waits: Semaphore,
    /// A plan may cost as much as translating everything: one at a time.
    plans: Semaphore,
    local_only: bool,
    strangers: Strangers,
    ending: CancellationToken,
}

/// Serves until `shutdown` is done and the requests under way are answered, or a short while has passed.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: impl Future<Output = ()>) {
    let ending = CancellationToken::new();
    let local_only = listener.local_addr().is_ok_and(|addr| addr.ip().is_loopback());
    let server = Arc::new(Server::new(admin, local_only, ending.clone()));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, Arc::clone(&server), graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "admin: accepting a connection failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    ending.cancel();
    if timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::info!(connections = connections.len(), "admin: cutting off slow connections");
    }
}

async fn connection(mut stream: TcpStream, peer: SocketAddr, server: Arc<Server>, watcher: Watcher) {
    let opening = tokio::select! {
        opening = timeout(HEADER_READ_TIMEOUT, Opening::read(&mut stream)) => opening,
        () = server.ending.cancelled() => return,
    };
    let Ok(Ok(opening)) = opening else { return };
    if matches!(opening.protocol, WireProtocol::Http2 | WireProtocol::Tls) {
        return server.strangers.refuse(stream, peer, opening).await;
    }
    let stream = Rewound::new(opening.bytes, stream);
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { Ok::<_, Infallible>(server.respond(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_AGE_MAX, watcher.watch(connection)).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin: a connection broke"),
    }
}

impl Server {
    fn new(admin: Admin, local_only: bool, ending: CancellationToken) -> Self {
        let strangers = Strangers::new(admin.own.xds);
        let large_answers = Arc::new(Semaphore::new(LARGE_ANSWERS_MAX));
        let waits = Semaphore::new(WAITS_MAX);
        let plans = Semaphore::new(1);
        Self { admin, large_answers, waits, plans, local_only, strangers, ending }
    }

    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        if self.local_only && !host.is_none_or(is_local) {
            let why = "this server listens on loopback: the Host header is to name localhost or an address";
            return Reply::from(Failure::forbidden(why)).into();
        }
        self.answer(request).await.unwrap_or_else(Reply::from).into()
    }
}

/// Whether a Host header names this machine in a way that no foreign DNS zone can.
fn is_local(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || bare == "localhost" || bare.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::is_local;

    #[test]
    fn only_names_that_no_foreign_zone_can_give_are_local() {
        for host in ["127.0.0.1", "127.0.0.1:18080", "[::1]:18080", "localhost:1", "a.localhost"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["", "example.com", "example.com:18080", "localhost.example.com", "127.0.0.1.example.com"]
        {
            assert!(!is_local(host), "{host}");
        }
    }
}
