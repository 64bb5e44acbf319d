//! The xDS protocol: what a client asks for, what it holds, what it is sent next.
//!
//! ```text
//!  DiscoveryRequest ──► Machine::request ─┐                      ┌─► Response, to be written
//!                                         ├─► Machine::responses ┤
//!  ResourceSet ───────► Machine::update ──┘                      └─► nothing
//!
//!  Machine<Sotw> · Machine<Delta>    one per stream, no IO, no clock
//!    ├─ TypeState ×4   subscription, held resources, what is pending, what is unacknowledged
//!    └─ order          what may be sent, and removed, now: make before break
//! ```
//!
//! The rules are Envoy's (docs/root/api-docs/xds_protocol.rst); tests/xds.rs names each of them, and its
//! properties.rs plays random interleavings of them.
//! [`stream`] is the thin loop that gives a machine its requests, its sets and its time.

mod composed;
pub mod delta;
pub mod held;
pub mod machine;
pub mod order;
pub mod sotw;
pub mod stream;
pub mod subscription;
pub mod type_state;

pub use composed::Composed;
pub use delta::Delta;
pub use machine::{Answer, Limits, Machine, Outcome, Refusal, Response, Variant};
pub use sotw::Sotw;
