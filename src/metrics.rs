//! What pilot counts, as text for Prometheus.
//!
//! Streams count events as they happen. The state of registries is read at each scrape.

mod label;
mod process;
mod proxies;
mod rules;
mod scrape;
mod served;
mod text;

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::proxies::Proxies;
use crate::proxy::Transport;
use crate::resources::{PerType, ResourceType};
use crate::world::{Translated, World};

pub(crate) use label::health_word;
pub use text::Format;

/// From a fast push to a client that sleeps.
const LATENCY_SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

type Label<const N: usize> = [(&'static str, &'static str); N];

/// All counters of one pilot.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    streams: Family<Label<2>, Gauge>,
    places: Gauge,
    silent: Gauge,
    first_syncs: Gauge,
    types: PerType<TypeCounters>,
    unknown_types: Counter,
    refused: Family<Label<1>, Counter>,
    translation: Histogram,
    translation_failures: Counter,
}

/// Counters of one resource type, looked up once.
struct TypeCounters {
    pushes: Counter,
    pushed_resources: Counter,
    push_bytes: Counter,
    acks: Counter,
    nacks: Counter,
    change_to_ack: Histogram,
}

/// Counts a stream for as long as it lives.
#[must_use = "the stream is counted for as long as this lives"]
pub struct StreamGuard(Gauge);

impl StreamGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Nothing counted yet. Every series that is known beforehand is there from the start, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pilot");
        let streams = Family::<Label<2>, Gauge>::default();
        for transport in ["ads", "per_type"] {
            for protocol in ["delta", "sotw"] {
                drop(streams.get_or_create(&[("transport", transport), ("protocol", protocol)]));
            }
        }
        let (unknown_types, refused) = (Counter::default(), Family::<Label<1>, Counter>::default());
        for reason in ["streams", "connections", "protocol", "version", "silent", "unread"] {
            drop(refused.get_or_create(&[("reason", reason)]));
        }
        let translation = Histogram::new(LATENCY_SECONDS);
        let (places, silent, first_syncs) = (Gauge::default(), Gauge::default(), Gauge::default());
        registry.register("xds_streams", "Open discovery streams", streams.clone());
        registry.register(
            "xds_places_taken",
            "Streams that count against [xds] max_streams: open ones, and those that have not said who they are",
            places.clone(),
        );
        registry.register(
            "xds_silent_streams",
            "Streams that were opened a while ago and have not said who they are, of clients that are not known",
            silent.clone(),
        );
        registry.register(
            "xds_first_syncs_waiting",
            "Streams that wait for their turn to get their first answers of a type",
            first_syncs.clone(),
        );
        registry.register(
            "xds_unknown_types",
            "Requests for a resource type that is not known",
            unknown_types.clone(),
        );
        registry.register(
            "xds_refused",
            "Streams and requests that were refused, by reason",
            refused.clone(),
        );
        registry.register(
            "translation_seconds",
            "Time to translate a change, or what a proxy of a new kind asks for",
            translation.clone(),
        );
        let types = TypeCounters::register(&mut registry);
        let translation_failures = Counter::default();
        registry.register(
            "translation_failures",
            "Services and layers that could not be translated, which is a bug of pilot: each is served as it was before",
            translation_failures.clone(),
        );
        Self(Arc::new(Inner {
            registry,
            streams,
            places,
            silent,
            first_syncs,
            types,
            unknown_types,
            refused,
            translation,
            translation_failures,
        }))
    }

    /// A stream took one of the places that there are. It has it until the guard is dropped.
    pub(crate) fn place_taken(&self) -> StreamGuard {
        StreamGuard::new(&self.0.places)
    }

    /// A stream has said nothing for a while. It is counted until the guard is dropped.
    pub(crate) fn silent_stream(&self) -> StreamGuard {
        StreamGuard::new(&self.0.silent)
    }

    /// A stream waits for its turn. It is counted until the guard is dropped.
    pub(crate) fn first_sync_waits(&self) -> StreamGuard {
        StreamGuard::new(&self.0.first_syncs)
    }

    /// A stream came. It is counted until the guard is dropped.
    pub fn stream_opened(&self, transport: Transport, delta: bool) -> StreamGuard {
        let transport = match transport {
            Transport::Ads => "ads",
            Transport::PerType { .. } => "per_type",
        };
        let protocol = if delta { "delta" } else { "sotw" };
        let labels = [("transport", transport), ("protocol", protocol)];
        StreamGuard::new(&self.0.streams.get_or_create_owned(&labels))
    }

    /// A response was sent.
    pub fn pushed(&self, kind: ResourceType, resources: usize, bytes: usize) {
        let counters = self.of(kind);
        counters.pushes.inc();
        counters.pushed_resources.inc_by(u64::try_from(resources).unwrap_or(u64::MAX));
        counters.push_bytes.inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// A response was accepted. `change_age` is the time since a registry published the change, where the
    /// response was due to a change and not to a new subscription.
    pub fn acked(&self, kind: ResourceType, change_age: Option<Duration>) {
        let counters = self.of(kind);
        counters.acks.inc();
        if let Some(age) = change_age {
            counters.change_to_ack.observe(age.as_secs_f64());
        }
    }

    /// A response was refused.
    pub fn nacked(&self, kind: ResourceType) {
        self.of(kind).nacks.inc();
    }

    /// A client asked for a type that is not known.
    pub fn unknown_type(&self) {
        self.0.unknown_types.inc();
    }

    /// A stream or a request was refused. Reasons are few and fixed: `no_node`, `too_many_streams`.
    pub fn refused(&self, reason: &'static str) {
        self.0.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// The layers that a change touches were made, or those that somebody asked for.
    pub fn translated(&self, translated: Translated) {
        self.0.translation.observe(translated.took.as_secs_f64());
        self.0.translation_failures.inc_by(u64::try_from(translated.failures).unwrap_or(u64::MAX));
    }

    /// Everything as text, with what is known of registries, proxies and this process now.
    pub fn encode(&self, format: Format, world: &World, proxies: &Proxies) -> String {
        let mut process = Registry::default();
        process::register(&mut process);
        let mut text = String::new();
        for registry in [&self.0.registry, &scrape::registry(world, proxies), &process] {
            encode_registry(&mut text, registry).expect("writing to a string does not fail");
        }
        encode_eof(&mut text).expect("writing to a string does not fail");
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => text::prometheus(&text),
        }
    }

    fn of(&self, kind: ResourceType) -> &TypeCounters {
        &self.0.types[kind]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl TypeCounters {
    fn register(registry: &mut Registry) -> PerType<Self> {
        type Histograms = Family<Label<1>, Histogram, fn() -> Histogram>;
        let mut counters = |name: &str, help: &str| {
            let family = Family::<Label<1>, Counter>::default();
            registry.register(name, help, family.clone());
            family
        };
        let pushes = counters("xds_pushes", "Responses sent, by type");
        let pushed_resources = counters("xds_pushed_resources", "Resources in the responses sent, by type");
        let push_bytes = counters("xds_push_bytes", "Bytes of the responses sent, by type");
        let acks = counters("xds_acks", "Responses that proxies accepted, by type");
        let nacks = counters("xds_nacks", "Responses that proxies refused, by type");
        let change_to_ack = Histograms::new_with_constructor(|| Histogram::new(LATENCY_SECONDS));
        registry.register(
            "xds_change_to_ack_seconds",
            "Time from a registry's change to a proxy's acknowledgement, by type",
            change_to_ack.clone(),
        );
        PerType::of(|kind| {
            let label = [("type", kind.as_str())];
            Self {
                pushes: pushes.get_or_create_owned(&label),
                pushed_resources: pushed_resources.get_or_create_owned(&label),
                push_bytes: push_bytes.get_or_create_owned(&label),
                acks: acks.get_or_create_owned(&label),
                nacks: nacks.get_or_create_owned(&label),
                change_to_ack: change_to_ack.get_or_create_owned(&label),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::MeshOptions;

    #[test]
    fn what_happened_is_counted_under_its_labels() {
        let metrics = Metrics::new();
        let delta = metrics.stream_opened(Transport::Ads, true);
        let sotw = metrics.stream_opened(Transport::PerType { delta: false }, false);
        drop(sotw);
        metrics.pushed(ResourceType::Endpoint, 3, 70);
        metrics.pushed(ResourceType::Endpoint, 1, 30);
        metrics.acked(ResourceType::Endpoint, Some(Duration::from_millis(2)));
        metrics.acked(ResourceType::Endpoint, None);
        metrics.nacked(ResourceType::Listener);
        metrics.unknown_type();
        metrics.refused("no_node");
        metrics.translated(Translated { took: Duration::from_millis(3), failures: 2 });
        let world = World::new(Vec::new(), MeshOptions::default(), 16);
        let text = metrics.encode(Format::OpenMetrics, &world, &Proxies::default());
        drop(delta);
        for line in [
            r#"pilot_xds_streams{transport="ads",protocol="delta"} 1"#,
            r#"pilot_xds_streams{transport="per_type",protocol="sotw"} 0"#,
            r#"pilot_xds_pushes_total{type="eds"} 2"#,
            r#"pilot_xds_pushes_total{type="cds"} 0"#,
            r#"pilot_xds_pushed_resources_total{type="eds"} 4"#,
            r#"pilot_xds_push_bytes_total{type="eds"} 100"#,
            r#"pilot_xds_acks_total{type="eds"} 2"#,
            r#"pilot_xds_nacks_total{type="lds"} 1"#,
            r#"pilot_xds_unknown_types_total 1"#,
            r#"pilot_xds_refused_total{reason="no_node"} 1"#,
            r#"pilot_xds_change_to_ack_seconds_count{type="eds"} 1"#,
            r#"pilot_xds_change_to_ack_seconds_bucket{le="0.0025",type="eds"} 1"#,
            r#"pilot_xds_change_to_ack_seconds_bucket{le="0.001",type="eds"} 0"#,
            r#"pilot_translation_seconds_count 1"#,
            r#"pilot_translation_failures_total 2"#,
            r#"pilot_proxies{state="acked"} 0"#,
            r#"pilot_scopes 0"#,
            r#"pilot_world_age_seconds 0.0"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
