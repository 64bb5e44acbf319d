//! pilot: tells every Envoy where services are and how to reach them.

pub mod catalog;
pub mod mesh;
pub mod proxy;
pub mod resources;
pub mod translate;
