//! The xDS server: gRPC around [`crate::xds::stream`], with limits, keepalive and a drain.
//!
//! ```text
//!  TCP ─► incoming ─► tonic ─► Admission ─► Discovery: ADS · CDS · EDS · LDS · RDS, each SotW and delta
//!                                         └─► health · reflection
//! ```

mod admission;
mod descriptors;
mod discovery;
mod framing;
mod incoming;
mod stranger;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilot_envoy_api::FILE_DESCRIPTOR_SET;
use tokio::net::TcpListener;
use tonic::transport::Server;

use crate::shutdown::Shutdown;
use crate::xds::stream::Context;

use admission::AdmissionLayer;
use discovery::DiscoveryLayer;
use incoming::{ConnectionLimits, incoming};
use stranger::Strangers;

/// What the server needs to know besides what streams do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many streams there may be at once.
    pub max_streams: usize,
    /// A connection on which a client does not begin HTTP/2 within this time is closed.
    pub preface_timeout: Duration,
    /// Where the admin server is, for those who look for it here.
    pub admin: Option<SocketAddr>,
    /// An idle connection is asked after this time whether it is still there.
    pub keepalive_interval: Duration,
    /// A connection that does not answer within this time is closed.
    pub keepalive_timeout: Duration,
}

/// Connections beyond one a stream: for probes, and for clients that are told why their stream is refused.
const SPARE_CONNECTIONS: usize = 128;

/// The server could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Server reflection could not be set up.
    #[error("setting up server reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport broke.
    #[error("serving xDS")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until shutdown has begun and all streams have ended, or the drain deadline is over.
///
/// # Errors
/// The server could not go on.
pub async fn serve(
    listener: TcpListener,
    context: Context,
    settings: &Settings,
    shutdown: Shutdown,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    descriptors::warn_if_few(settings.max_streams);
    let drain = context.drain;
    let admission = AdmissionLayer::new(settings.max_streams, context.metrics.clone());
    let connections = ConnectionLimits {
        max: settings.max_streams.saturating_add(SPARE_CONNECTIONS),
        preface_timeout: settings.preface_timeout,
    };
    let strangers = Arc::new(Strangers::new(settings.admin, context.metrics.clone()));
    let incoming = incoming(listener, connections, strangers, context.metrics.clone());
    let begun = {
        let shutdown = shutdown.clone();
        async move {
            shutdown.begun().await;
            health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        }
    };
    let serving = Server::builder()
        .http2_keepalive_interval(Some(settings.keepalive_interval).filter(|it| !it.is_zero()))
        .http2_keepalive_timeout(Some(settings.keepalive_timeout))
        .layer(admission)
        .layer(DiscoveryLayer(context))
        .add_service(health_service)
        .add_service(reflection()?.build_v1()?)
        .add_service(reflection()?.build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, begun);
    let deadline = async {
        shutdown.begun().await;
        tokio::time::sleep(drain).await;
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = deadline => {
            tracing::warn!(?drain, "the drain deadline is over: closing what is still open");
            Ok(())
        }
    }
}

fn reflection() -> Result<tonic_reflection::server::Builder<'static>, ServeError> {
    Ok(tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET))
}
