//! The contract that every registry adapter passes, and registries for tests.
//!
//! ```text
//!  Backend (the platform's own side) ──► rules c01 … c18 ──► Runner ──► the adapter under test
//!                                   └──► operations_converge (drawn lists of operations)
//!  Script (a test's hand) ──► Scripted ──► supervisor, catalog, server under test
//! ```
//!
//! - [`Backend`] is what an adapter's author writes: how a test puts and deletes services on the platform,
//!   cuts it off and breaks it. [`contract!`] makes one test of each rule out of it.
//! - [`documents`] is the same for stores of rules: [`DocumentBackend`](documents::DocumentBackend), and
//!   [`document_contract!`].
//! - [`Runner`] follows a registry the way pilot's supervisor does, for tests.
//! - [`Scripted`] is a registry that does what a test says.
//! - [`ScriptedRegistrar`] is the writing side of a platform in memory, which a test takes down.
//! - [`service`] and [`snapshot`] build values in a line; [`strategies`] draws them at random.
//! - [`server`] starts real servers for tests, relays that cut them off, and gates that spoil what they say.
//! - [`effort`] tells the short form of a test from the long one.
//! - [`logs`] is what a test logs, to be looked at.
//! - [`memory`] is a platform in memory with a correct adapter: what the suite itself is tested on.
//!
//! Nothing here is for production: builders panic on values that make no sense.
// A lock that lives across an await, in whatever it is wrapped, makes a future that cannot be sent.
#![cfg_attr(not(test), deny(clippy::future_not_send))]

mod backend;
mod builder;
pub mod contract;
pub mod documents;
mod effort;
pub mod logs;
pub mod memory;
mod property;
mod registrar;
mod runner;
mod scripted;
pub mod server;
pub mod strategies;

pub use backend::{Backend, BadConfig, Made, Operation};
pub use builder::{ServiceBuilder, service, snapshot};
pub use effort::{LONG, effort};
pub use property::operations_converge;
pub use registrar::{RegistrarEvent, ScriptedRegistrar};
pub use runner::Runner;
pub use scripted::{Script, Scripted};
