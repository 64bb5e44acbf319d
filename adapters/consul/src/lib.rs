//! Services of Consul's catalog, followed by blocking queries; the way back, to register in it; and documents of rules in
//! its keys.
//!
//! ```text
//!  Consul ── catalog/services, health/service/… ──► client ──► source ──► convert ──► Snapshot ──► sink
//!         ── kv/<prefix>/rules/?recurse ──────────► client ──► source/keys ─────────► Texts ──► sink
//!         ◄───────── agent/service, agent/check ─── register ◄── Registration
//! ```
//!
//! The mapping is described in this package's README.md, and how many connections it takes in [`source`].
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

mod client;
mod config;
mod convert;
mod register;
pub mod source;

pub use config::{
    CheckStatus, Config, Consistency, DefaultPort, HostTemplate, Limits, Pattern, RULES_USUAL_VARIABLES,
    RulesConfig, RulesLimits, TaggedAddress, Tls, USUAL_VARIABLES,
};
pub use register::ConsulRegistrar;
pub use source::{ConsulRegistry, ConsulRules};

use pilot_registry::{ConfigError, Registrar};

/// Makes a registry of the services that Consul's catalog has. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registry(config: Config) -> Result<ConsulRegistry, ConfigError> {
    config.check()?;
    Ok(ConsulRegistry::new(config))
}

/// Makes a store of the documents of rules in Consul's keys. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn rules(config: RulesConfig) -> Result<ConsulRules, ConfigError> {
    config.check()?;
    Ok(ConsulRules::new(config))
}

/// Makes the way to register instances with a Consul agent. Does no IO.
///
/// # Errors
/// A value of the configuration makes no sense.
pub fn registrar(config: Config) -> Result<impl Registrar, ConfigError> {
    config.check()?;
    Ok(ConsulRegistrar::new(config))
}
