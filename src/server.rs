//! The xDS server: gRPC around [`crate::xds::stream`], with limits, keepalive and a drain.
//!
//! ```text
//!  TCP ─► incoming ─► connections ─► protocol ─► Admission ─► Discovery: ADS · CDS · EDS · LDS · RDS,
//!                                                   │             └─► silent, until it has said who it is
//!                                                   └─► health · reflection              each SotW and delta
//! ```

mod admission;
mod budget;
mod caller;
mod connections;
mod descriptors;
mod discovery;
mod framing;
mod incoming;
mod protocol;
mod silent;
mod stranger;
mod unread;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot_envoy_api::FILE_DESCRIPTOR_SET;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Layer;

use crate::shutdown::Shutdown;
use crate::xds::stream::StreamContext;

use admission::AdmissionLayer;
use budget::Budget;
use connections::Connections;
use discovery::{DiscoveryLayer, SERVICES};
use framing::Bodies;
use incoming::{ConnectionLimits, incoming};
use silent::SilentStreams;
use stranger::Strangers;
use unread::WatchingExecutor;

/// What the server needs to know besides what streams do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many streams there may be at once.
    pub max_streams: usize,
    /// A connection on which a client does not begin HTTP/2 within this time is closed.
    pub preface_timeout: Duration,
    /// A stream whose client does not say who it is within this time is closed.
    pub first_request_timeout: Duration,
    /// After about this time a client is asked to connect again, so that clients spread over replicas. `None` = never.
    pub max_age: Option<Duration>,
    /// Where the admin server is, for those who look for it here.
    pub admin: Option<SocketAddr>,
    /// An idle connection is asked after this time whether it is still there.
    pub keepalive_interval: Duration,
    /// A connection that does not answer within this time is closed.
    pub keepalive_timeout: Duration,
}

/// Connections beyond one a stream: for probes, and for clients that are told why their stream is refused.
const SPARE_CONNECTIONS: usize = 128;

/// The bytes of all large requests that are in memory at one time, unless two of the largest take more.
const LARGE_REQUESTS: usize = 64 << 20;

/// So much longer than a client may say nothing, it may read nothing: it may be busy with what it has read.
const UNREAD: u32 = 3;

/// The server could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Server reflection could not be set up.
    #[error("setting up server reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves until shutdown has begun and all streams have ended, or the drain deadline is over.
///
/// # Errors
/// The server could not go on.
pub async fn serve(
    listener: TcpListener,
    context: StreamContext,
    settings: &Settings,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    descriptors::warn_if_few(settings.max_streams);
    let (drain, metrics) = (context.drain, context.metrics.clone());
    let limits = ConnectionLimits {
        max: settings.max_streams.saturating_add(SPARE_CONNECTIONS),
        preface_timeout: settings.preface_timeout,
    };
    let strangers = Arc::new(Strangers::new(settings.admin, metrics.clone()));
    let incoming = incoming(listener, limits, strangers, metrics.clone());

    let (health, health_service) = tonic_health::server::health_reporter();
    say(&health, ServingStatus::Serving).await;
    let routes = Routes::new(health_service)
        .add_service(reflection("grpc.reflection.v1.ServerReflection").build_v1()?)
        .add_service(reflection("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?)
        .prepare();
    let silent = SilentStreams::new(settings.first_request_timeout, settings.max_streams, metrics.clone());
    let budget =
        Budget::new(LARGE_REQUESTS.max(2 * context.max_request_bytes), settings.first_request_timeout);
    let discovery = DiscoveryLayer { context, silent, budget, bodies: Bodies::default() }.layer(routes);
    let streams = WatchingExecutor::new(UNREAD * settings.first_request_timeout, metrics.clone());
    let service = AdmissionLayer::new(settings.max_streams, metrics).layer(discovery);
    let connections = Arc::new(Connections::new(service, settings, streams, drain, shutdown.clone()));
    let deadline = async {
        shutdown.begun().await;
        say(&health, ServingStatus::NotServing).await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        () = connections.serve(incoming) => {}
        () = deadline => tracing::warn!(?drain, "the drain deadline is over: closing what is still open"),
    }
    Ok(())
}

/// Sets the health of the server, whose name is empty, and of each service.
async fn say(health: &HealthReporter, status: ServingStatus) {
    for service in std::iter::once("").chain(SERVICES) {
        health.set_service_status(service, status).await;
    }
}

/// Lists what is served, and describes all messages. Envoy's files also declare services that are not served here.
/// `own`: the name of the service that lists them.
fn reflection(own: &str) -> tonic_reflection::server::Builder<'static> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let names = SERVICES.into_iter().chain(["grpc.health.v1.Health", own]);
    names.fold(builder, |builder, name| builder.with_service_name(name))
}
