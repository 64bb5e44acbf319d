//! What Gateways make of the documents that count at them: listeners with servers, and who has which host there.
//!
//! ```text
//!  Gateways that select the proxy, the oldest first ─► plan    listeners; servers that have no place there
//!  VirtualServices bound to them, the oldest first  ─► hosts   who has the requests to which host of a server
//! ```

pub(in crate::translate) mod hosts;
mod plan;

pub(in crate::translate) use plan::{Bind, Family, Listening, Place, Placed, Plan};
pub(super) use plan::{ServedHost, Unplaced};
