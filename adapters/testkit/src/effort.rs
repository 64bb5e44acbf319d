//! How much a test does: enough for each change, or all of it.

/// The environment variable that `tests/long` sets to 1.
pub const LONG: &str = "PILOT_TEST_LONG";

/// How often, how many or how long: the short form of a test runs with each change (`tests/run`), the long one
/// where the environment's [`LONG`] is 1 (`tests/long`). Both ask the same.
pub fn effort<T>(short: T, long: T) -> T {
    if std::env::var_os(LONG).is_some_and(|value| value == "1") { long } else { short }
}
