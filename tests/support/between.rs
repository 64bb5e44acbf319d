//! Stands between clients and a server.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Takes the connections of clients, and opens one to the server for each. It ends, with its connections, when it is
/// dropped.
pub(crate) struct Between {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Between {
    /// `carry` brings what is said from one to the other: the client first, then the server.
    pub(crate) async fn before<F>(
        server: SocketAddr,
        carry: impl Fn(TcpStream, TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(server).await else { continue };
                connections.spawn(carry(client, server));
            }
        });
        Self { address, _tasks: tasks }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
