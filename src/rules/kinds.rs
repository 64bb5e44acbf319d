//! What documents say, as types. Their doc comments are the descriptions in `docs/rules.md`; what a shape has no word for
//! stands in extensions (see `shape.rs`).

mod binding;
mod common;
mod connection_routes;
mod destination_rule;
mod gateway;
mod locality;
mod service_entry;
mod traffic_policy;
mod virtual_service;
mod workload_entry;

pub use binding::MESH;
pub use common::{
    Destination, HeaderOperations, Headers, Percent, PortSelector, Refused, Regex, RegexOrAny, Span,
    StringMatch, ValueMatch,
};
pub use connection_routes::{
    ConnectionDestination, ConnectionMatch, SourceCondition, TcpMatch, TcpRoute, TlsMatch, TlsRoute, network,
};
pub use destination_rule::{DestinationRule, Subset, WorkloadSelector};
pub use gateway::{
    Gateway, Server, ServerCertificate, ServerPort, ServerProtocol, ServerTls, ServerTlsMode, TlsVersion,
};
pub use locality::{Distribute, Failover, LocalityLoadBalancing, PLACE_LABELS, place};
pub use service_entry::{EntryLocation, EntryPort, EntryResolution, EntrySelector, ServiceEntry};
pub use traffic_policy::{
    ConnectionPool, ConsistentHash, CookieAttribute, H2UpgradePolicy, Http2KeepAlive, HttpCookie, HttpPool,
    LoadBalancer, Maglev, OutlierDetection, PortPolicy, ProxyProtocol, ProxyProtocolVersion, RetryBudget,
    RingHash, SimpleLoadBalancer, TcpKeepalive, TcpPool, TlsMode, TlsSettings, TrafficPolicy, Warmup,
};
pub use virtual_service::{
    Abort, Body, CorsPolicy, Delay, Delegate, DerivePort, DirectResponse, FaultInjection, HttpMatch,
    HttpRoute, Mirror, Redirect, RegexRewrite, Retries, Rewrite, RouteDestination, UnmatchedPreflights,
    VirtualService,
};
pub use workload_entry::WorkloadEntry;

use std::sync::LazyLock;

use serde_json::Value;

use super::conform::Shaped;
use super::shape;

macro_rules! shaped {
    ($kind:ty) => {
        impl Shaped for $kind {
            fn shape() -> &'static LazyLock<Value> {
                static SHAPE: LazyLock<Value> = LazyLock::new(shape::of::<$kind>);
                &SHAPE
            }
        }
    };
}

shaped!(VirtualService);
shaped!(DestinationRule);
shaped!(ServiceEntry);
shaped!(WorkloadEntry);
shaped!(Gateway);
