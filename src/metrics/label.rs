//! Labels and values that several families of metrics share.

use pilot_registry::RegistryHealth;

/// The registry's name in pilot.toml.
pub(super) type OfRegistry = [(&'static str, String); 1];

/// The name of a registry, or of a store of rules, and a state.
pub(super) type OfState = [(&'static str, String); 2];

/// A gauge's value for a count.
pub(super) fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// All that [`health_word`] says.
pub(super) const STATES: [&str; 3] = ["connecting", "live", "degraded"];

/// The word for a registry's health, in metrics and JSON.
pub(crate) fn health_word(health: &RegistryHealth) -> &'static str {
    match health {
        RegistryHealth::Connecting => STATES[0],
        RegistryHealth::Live => STATES[1],
        RegistryHealth::Degraded(_) => STATES[2],
    }
}
