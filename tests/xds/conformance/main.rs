//! The adapter of the public xDS conformance harness, over pilot's own server: not part of the product.
//!
//! ```text
//!  harness ── adapter.Adapter (gRPC) ──► state ── View ──► pilot::server ──► harness
//!             "set resource A to version 2"                       "does a client get A at version 2?"
//! ```
//!
//! `cargo run --example conformance -- [XDS_ADDRESS] [ADAPTER_ADDRESS]`; the harness is then given the
//! two ports. Each of its scenarios is also a test of ours, in tests/xds/scenarios.rs.

mod adapter;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pilot::metrics::Metrics;
use pilot::proxies::Proxies;
use pilot::server::{self, Settings};
use pilot::shutdown::{Signals, shutdown};
use pilot::xds::Limits;
use pilot::xds::stream::{FirstSyncs, StreamContext};
use tokio::net::TcpListener;
use tonic::transport::Server;

use state::State;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let xds = arguments.next().unwrap_or_else(|| "127.0.0.1:18000".to_owned());
    let adapter: SocketAddr = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:17000".to_owned())
        .parse()
        .context("adapter address")?;

    let state = State::default();
    let (_trigger, running) = shutdown();
    let context = StreamContext {
        source: Arc::new(state.clone()),
        proxies: Proxies::default(),
        metrics: Metrics::new(),
        limits: Limits { max_names: 1000 },
        max_request_bytes: 1 << 20,
        first_syncs: FirstSyncs::new(),
        drain: Duration::from_secs(1),
        shutdown: running.clone(),
    };
    let settings = Settings {
        max_streams: 1000,
        preface_timeout: Duration::from_secs(10),
        first_request_timeout: Duration::from_secs(10),
        max_age: None,
        admin: None,
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(20),
    };
    let listener = TcpListener::bind(&xds).await.with_context(|| format!("listening on {xds}"))?;
    let mut signals = Signals::new().context("waiting for a signal")?;
    tokio::select! {
        served = server::serve(listener, context, &settings, running) => served.context("serving xDS"),
        served = Server::builder().add_service(adapter::Adapter::new(state)).serve(adapter) => {
            served.context("serving the adapter")
        }
        _signal = signals.next() => Ok(()),
    }
}
