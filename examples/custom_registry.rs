//! A registry of your own, and a whole pilot that follows it.
//!
//! The platform of this example is any program that listens on TCP and writes lines: an HTTP service and one
//! of its endpoints on each, and `.` when that was all of them; later the whole list again. Be the platform
//! yourself:
//!
//! ```text
//! nc -l 127.0.0.1 7000                  (traditional netcat: nc -l -s 127.0.0.1 -p 7000)
//! reviews.local 127.0.0.1:9181
//! .
//! cargo run --example custom_registry   (in another terminal; then: cargo run -- services)
//! ```
//!
//! Arguments: where the platform, xDS and the admin server listen.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use pilot::config::Config;
use pilot::registries::ConfiguredRegistry;
use pilot::{Listeners, shutdown};
use pilot_registry::{
    Address, Endpoint, Hostname, Port, Protocol, RegistryError, Service, ServicePort, ServiceRegistry,
    ServiceSpec, Snapshot, SnapshotSink, async_trait,
};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

struct LineRegistry {
    platform: SocketAddr,
}

#[async_trait]
impl ServiceRegistry for LineRegistry {
    fn name(&self) -> &'static str {
        "lines"
    }

    /// One attempt: whatever goes wrong ends it, and pilot tries again while what was published stays.
    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let platform = self.platform;
        let failed = |what| RegistryError::unavailable(format!("{what} {platform}"));
        let stream = TcpStream::connect(platform);
        let stream = stream.await.map_err(|error| failed("connecting to").caused_by(error))?;
        let mut lines = BufReader::new(stream).lines();
        let mut services = BTreeMap::new();
        while let Some(line) =
            lines.next_line().await.map_err(|error| failed("reading from").caused_by(error))?
        {
            // Nothing is published before the list is whole: a part of it would look like all of it.
            if line == "." {
                let list = std::mem::take(&mut services).into_values();
                sink.publish(snapshot(list).map_err(|error| failed("list of").caused_by(error))?);
            } else if let Err(why) = add(&mut services, &line) {
                sink.skipped(line, why.to_string());
            }
        }
        Err(failed("end of the stream from"))
    }
}

/// `reviews.local 127.0.0.1:9181`: one more endpoint.
fn add(services: &mut BTreeMap<Hostname, ServiceSpec>, line: &str) -> anyhow::Result<()> {
    let (host, endpoint) =
        line.split_once(' ').ok_or_else(|| anyhow::anyhow!("expected a host and an ip:port"))?;
    let (host, endpoint): (Hostname, SocketAddr) = (host.parse()?, endpoint.parse()?);
    let (number, own) = (Port::try_from(80)?, Port::try_from(u32::from(endpoint.port()))?);
    let service = services.entry(host.clone()).or_insert_with(|| ServiceSpec {
        ports: vec![ServicePort { number, name: "http".into(), protocol: Protocol::Http }],
        ..ServiceSpec::new(host)
    });
    service.endpoints.push(Endpoint::new(Address::Ip(endpoint.ip())).serving(number, own));
    Ok(())
}

fn snapshot(list: impl Iterator<Item = ServiceSpec>) -> Result<Snapshot, pilot_registry::ModelError> {
    let services: Result<Vec<_>, _> = list.map(|spec| Service::new(spec).map(Arc::new)).collect();
    Snapshot::new(services?)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut config = Config::default();
    let mut platform = SocketAddr::from(([127, 0, 0, 1], 7000));
    let places = [&mut platform, &mut config.xds.listen, &mut config.admin.listen];
    for (place, argument) in places.into_iter().zip(std::env::args().skip(1)) {
        *place = argument.parse()?;
    }
    pilot::cli::init_logging(&config.log)?;
    let registry = Box::new(LineRegistry { platform });
    let (name, kind) = ("lines".into(), "lines");
    let lines = ConfiguredRegistry { name, kind, priority: 0, patience: None, registry };
    let listeners = Listeners::bind(&config).await?;
    let (trigger, shutdown) = shutdown::shutdown();
    let mut signals = shutdown::Signals::new()?;
    let mut run = std::pin::pin!(pilot::run(&config, vec![lines], listeners, shutdown));
    tokio::select! {
        ended = &mut run => return Ok(ended?),
        _signal = signals.next() => {}
    }
    trigger.begin();
    Ok(run.await?)
}
