//! The xDS protocol, rule by rule. The rules are Envoy's (docs/root/api-docs/xds_protocol.rst), not what the
//! code happens to do; each test's name begins with the number of its rule in tests/xds/README.md.
//!
//! ```text
//!  sotw · delta · order    one machine, one client, step by step
//!  scenarios               those of the public conformance harness, on the same machines
//!  model · properties      random interleavings with clients that behave as Envoy does
//!  server                  real sockets: limits, garbage, age, shutdown
//! ```

#[path = "xds/delta.rs"]
mod delta;
#[path = "xds/driver.rs"]
mod driver;
#[path = "xds/model.rs"]
mod model;
#[path = "xds/order.rs"]
mod order;
#[path = "xds/properties.rs"]
mod properties;
#[path = "xds/scenarios.rs"]
mod scenarios;
#[path = "xds/server.rs"]
mod server;
#[path = "xds/sotw.rs"]
mod sotw;
#[path = "xds/things.rs"]
mod things;
