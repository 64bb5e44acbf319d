//! Taking connections, for servers that run in a test's own process.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A loopback port of its own, where each connection is served by a task. All end when it is dropped.
#[derive(Debug)]
pub struct Acceptor {
    address: SocketAddr,
    /// Aborted when it is dropped, and the connections with it.
    _tasks: JoinSet<()>,
}

impl Acceptor {
    /// Takes connections from now on, without Nagle's delays.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((client, _)) = accepted {
                        _ = client.set_nodelay(true);
                        connections.spawn(serve(client));
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, _tasks: tasks })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
