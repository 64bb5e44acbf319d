//! Proxies at the edge: what Gateways and the rules that are bound to them make of requests through a real Envoy.

mod attacks;
mod edge;
mod http;
mod tls;
