//! Translation, seen from outside: worlds of services in, Envoy's resources out.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conflicts;
mod defaults;
mod documents;
mod drawn;
mod drawn_rules;
mod features;
mod gateways;
mod golden;
mod held;
mod local;
mod places;
mod properties;
mod rich;
mod ruled;
mod rules;
mod scoped;
mod standing;
mod validated;
mod world;
