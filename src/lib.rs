//! pilot: tells every Envoy where services are and how to reach them.

pub mod catalog;
pub mod cli;
pub mod config;
pub mod mesh;
pub mod proxy;
pub mod registries;
pub mod resources;
