//! Taking connections, for servers that run in a test's own process.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::time::Duration;

use anyhow::Result;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::free_address;

/// How long it waits where the system gives it no connection, as when it has no file descriptor left.
const PAUSE: Duration = Duration::from_millis(20);

/// A loopback port of its own, also while it is stopped, where each connection is served by a task. All end when it is dropped, and when
/// one of them panics: then nobody listens any more.
#[derive(Debug)]
pub struct Acceptor {
    address: SocketAddr,
    /// Aborted when it is dropped, and the connections with it.
    tasks: JoinSet<()>,
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
        Self::start_at(free_address()?, serve).await
    }

    /// The same, at that address: for one that has [stopped](Self::stop).
    ///
    /// # Errors
    /// Somebody listens there.
    pub async fn start_at<F>(
        address: SocketAddr,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((client, _)) => {
                            _ = client.set_nodelay(true);
                            connections.spawn(serve(client));
                        }
                        Err(_) => sleep(PAUSE).await,
                    },
                    Some(ended) = connections.join_next() => raise(ended),
                }
            }
        });
        Ok(Self { address, tasks })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops listening and closes what is open, in a moment.
    pub fn stop(&mut self) {
        self.tasks.abort_all();
    }

    /// Waits until nobody listens any more.
    pub async fn stopped(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            raise(ended);
        }
    }
}

/// A panic goes on where the task is waited for.
fn raise(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        resume_unwind(panic);
    }
}
