//! End-to-end tests: the real `pilot`, real Envoys, gRPC's own xDS client, real Consul and etcd, real
//! backends, on loopback.
//!
//! `tests/run` installs what they need. Without it they say what is missing, and are counted as skipped.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

#[path = "support"]
mod support {
    pub(crate) mod backend;
    pub(crate) mod between;
    pub(crate) mod bootstrap;
    pub(crate) mod conversation;
    pub(crate) mod envoy;
    pub(crate) mod grpc;
    pub(crate) mod http;
    pub(crate) mod liar;
    pub(crate) mod load;
    pub(crate) mod loopback;
    pub(crate) mod mute;
    pub(crate) mod pilot;
    pub(crate) mod process;
    pub(crate) mod resolver;
    pub(crate) mod services;
    pub(crate) mod slow;
    pub(crate) mod sockets;
    pub(crate) mod tls;
    pub(crate) mod tools;
    pub(crate) mod wait;
    pub(crate) mod websocket;
}

#[path = "e2e"]
mod e2e {
    mod acceptance;
    mod admission;
    mod bootstrap;
    mod changes;
    mod defaults;
    mod disk;
    mod entries;
    mod gateways;
    mod grpc;
    mod handmade;
    mod hosts;
    mod isolation;
    mod late;
    mod lifecycle;
    mod locality;
    mod mesh;
    mod namespaces;
    mod outages;
    mod parts;
    mod platform;
    mod ports;
    mod refusals;
    mod registries;
    mod restart;
    mod routing;
    mod rules;
    mod servers;
    mod several;
    mod spared;
    mod state;
    mod strangers;
    mod verbs;
    mod visibility;
    mod workload;
}
