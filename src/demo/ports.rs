//! Ports to listen on: the usual ones, or free ones where those are taken.

use std::io::ErrorKind;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::DemoError;

/// A socket on the address. If its port is taken and the address is the usual one, which nobody chose, a
/// socket on a free port of the same IP address.
pub(super) async fn listen(
    key: &'static str,
    wanted: SocketAddr,
    usual: SocketAddr,
) -> Result<TcpListener, DemoError> {
    let refused = |source| DemoError::Listen { key, address: wanted, source };
    match TcpListener::bind(wanted).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse && wanted == usual => {
            eprintln!("note: {wanted} ({key}) is in use: a free port is taken instead");
            TcpListener::bind((wanted.ip(), 0)).await.map_err(refused)
        }
        bound => bound.map_err(refused),
    }
}

/// The address of such a socket, for somebody else to listen there.
pub(super) async fn free(
    key: &'static str,
    wanted: SocketAddr,
    usual: SocketAddr,
) -> Result<SocketAddr, DemoError> {
    let listener = listen(key, wanted, usual).await?;
    listener.local_addr().map_err(|source| DemoError::Listen { key, address: wanted, source })
}
