//! pilot: tells every Envoy where services are and how to reach them.

pub mod admin;
pub mod bootstrap;
pub mod catalog;
pub mod config;
pub mod mesh;
pub mod metrics;
pub mod proxies;
pub mod proxy;
pub mod resources;
pub mod rfc3339;
pub mod server;
pub mod shutdown;
pub mod supervisor;
pub mod translate;
pub mod world;
pub mod xds;
