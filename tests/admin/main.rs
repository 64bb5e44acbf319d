//! The admin server over real HTTP, with registries that the tests drive.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod debug;
mod fixture;
mod listing;
mod metrics;
mod plan;
mod probes;
mod proxies;
mod proxies_verb;
mod reach;
mod registries;
mod strangers;
mod told;
mod verbs;
