//! The xDS protocol: what a client asks for, what it has, what it is sent next.
//!
//! ```text
//!  DiscoveryRequest ──► Machine::request ─┐                      ┌─► Response, to be written
//!                                         ├─► Machine::responses ┤
//!  View ──────────────► Machine::update ──┘                      └─► nothing
//!
//!  Machine<Sotw> · Machine<Delta>    one per stream, no IO, no clock
//!    ├─ TypeState ×5   subscription; what the client has that is not what there is; what is unanswered
//!    ├─ order          what may be sent, and removed, now: make before break
//!    └─ answers        who is to blame for a refusal, and what is tried next
//! ```
//!
//! The rules are Envoy's (docs/root/api-docs/xds_protocol.rst); tests/xds.rs names each of them, and its
//! properties.rs plays random interleavings of them.
//! [`stream`] is the thin loop that gives a machine its requests, its views and its time.

pub mod answers;
pub mod builds;
pub mod client_copy;
mod composed;
pub mod delta;
pub mod in_flight;
pub mod machine;
pub mod names;
pub mod older;
pub mod order;
pub mod parts;
pub mod rejections;
pub mod ropes;
mod secrets;
pub mod shared;
mod sorted;
pub mod sotw;
pub mod stream;
pub mod subscription;
mod trials;
pub mod type_state;
mod untold;
pub mod variant;
pub mod virtual_hosts;
pub mod words;

pub use composed::{Composed, Scene};
pub use delta::Delta;
pub use machine::{Machine, Waits};
pub use rejections::{Rejection, Rejections};
pub use shared::Shared;
pub use sotw::{Sotw, StateRequest};
pub use variant::{Answer, Asked, Limits, ReadMessage, Refusal, RequestOutcome, Response, Variant};
