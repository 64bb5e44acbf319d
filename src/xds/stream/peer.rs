//! Who is at the other end of a stream.

use std::net::SocketAddr;

use tokio_util::sync::CancellationToken;

use super::in_hand::InHand;

/// The other end of a stream's connection.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// Its address, where it has one.
    pub address: Option<SocketAddr>,
    /// Cancelled when the connection is to end, after the client was told so: its streams end, too.
    pub leave: CancellationToken,
    /// What the request that the stream deals with holds. Each stream has its own.
    pub in_hand: InHand,
}

impl From<Option<SocketAddr>> for Peer {
    fn from(address: Option<SocketAddr>) -> Self {
        Self { address, ..Self::default() }
    }
}
