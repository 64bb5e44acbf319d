//! Translation, seen from outside: worlds of services in, Envoy's resources out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conflicts;
mod golden;
mod held;
mod local;
mod properties;
mod rules;
mod scoped;
mod world;
