//! Labels and values that several families of metrics share.

/// The registry's name in pilot.toml.
pub(super) type OfRegistry = [(&'static str, String); 1];

/// A gauge's value for a count.
pub(super) fn to_i64(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
