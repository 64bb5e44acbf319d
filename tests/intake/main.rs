//! What counts of a registry: the guard against mass disappearance, the last known good on disk, and when
//! what happens, on the virtual clock.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[cfg(feature = "consul")]
mod consul;
mod disk;
#[cfg(feature = "file")]
mod file;
mod follow;
mod guard;
mod health;
mod release;
mod restart;
mod returning;
mod second_read;
mod services;
mod state;
mod story;
