//! Services that are registered in etcd, a registrar that registers them there, and rule documents in its keys.
//!
//! ```text
//!  etcd ── pages of one revision ──► Directory ── hosts that changed ──► Service ──► Snapshot ──► sink
//!       ── watch from the next ────► (key by key,  built again
//!                                     last good)
//!  Registration ── registrar ──► instance under a lease ──► etcd
//! ```
//!
//! The keys and values are described in this package's README.md; [`service_schema`] and
//! [`instance_schema`] are the same for programs.
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

mod config;
mod connection;
mod convert;
mod directory;
mod document;
mod error;
mod kept;
mod keys;
mod list;
mod registrar;
mod source;
mod texts;
mod watch;

pub use config::{Config, Tls, USUAL_VARIABLES};
pub use document::{instance_schema, service_schema};
pub use registrar::EtcdRegistrar;
pub use source::{EtcdRegistry, EtcdRules};

pub use pilot_registry::Secret;
use pilot_registry::{ConfigError, Registrar};

/// Makes a registry of the services that are registered in etcd. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registry(config: Config) -> Result<EtcdRegistry, ConfigError> {
    config.check()?;
    Ok(EtcdRegistry::new(config))
}

/// Makes a store of the rule documents in etcd. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn rules(config: Config) -> Result<EtcdRules, ConfigError> {
    config.check()?;
    Ok(EtcdRules::new(config))
}

/// Makes a registrar that registers instances in etcd. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registrar(config: Config) -> Result<impl Registrar, ConfigError> {
    config.check()?;
    Ok(EtcdRegistrar::new(config))
}
