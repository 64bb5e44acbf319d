//! A way to a server that a test can cut.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Acceptor;

/// What becomes of connections through a [`Relay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Bytes pass.
    Open,
    /// Open connections are reset, and new ones closed at once: the server's machine is there, the server
    /// is not.
    Refused,
    /// Nothing passes and nobody is told, neither on open connections nor on new ones: a partition.
    Silent,
}

/// A TCP proxy in front of a server, which drops or refuses when a test says so. Its connections end with
/// it.
#[derive(Debug)]
pub struct Relay {
    acceptor: Acceptor,
    /// And how often open connections have been cut.
    way: watch::Sender<(Way, u64)>,
    open: Arc<()>,
}

impl Relay {
    /// A relay to `server`, on a loopback port of its own.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let (way, open) = (watch::Sender::new((Way::Open, 0)), Arc::new(()));
        let (ways, counted) = (way.subscribe(), Arc::clone(&open));
        let acceptor = Acceptor::start(move |client| {
            let (ways, counted) = (ways.clone(), Arc::clone(&counted));
            async move {
                pass(client, server, ways).await;
                drop(counted);
            }
        });
        Ok(Self { acceptor: acceptor.await?, way, open })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Resets what is open and refuses what comes.
    pub fn refuse(&self) {
        self.way.send_modify(|(way, _)| *way = Way::Refused);
    }

    /// Lets nothing through any more, without telling anybody.
    pub fn silence(&self) {
        self.way.send_modify(|(way, _)| *way = Way::Silent);
    }

    /// Lets everything through again. Connections that fell silent stay so: what was lost stays lost.
    pub fn open(&self) {
        self.way.send_modify(|(way, _)| *way = Way::Open);
    }

    /// Resets what is open; new connections are as before.
    pub fn cut(&self) {
        self.way.send_modify(|(_, cuts)| *cuts += 1);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        // One is ours, one the listener's.
        Arc::strong_count(&self.open).saturating_sub(2)
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut ways: watch::Receiver<(Way, u64)>) {
    let (way, cuts) = *ways.borrow_and_update();
    if way == Way::Open
        && let Ok(mut upstream) = TcpStream::connect(server).await
    {
        _ = upstream.set_nodelay(true);
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut upstream) => return,
            () = closed(&mut ways, cuts) => {}
        }
        return silent_or_reset(client, ways).await;
    }
    silent_or_reset(client, ways).await;
}

async fn closed(ways: &mut watch::Receiver<(Way, u64)>, before: u64) {
    // The relay has ended if there is no sender: so does the task, by abort.
    _ = ways.wait_for(|(way, cuts)| *way != Way::Open || *cuts != before).await;
}

/// Holds a silent connection until it is refused or the relay ends.
async fn silent_or_reset(client: TcpStream, mut ways: watch::Receiver<(Way, u64)>) {
    let (way, before) = *ways.borrow();
    if way == Way::Silent {
        _ = ways.wait_for(|(way, cuts)| *way == Way::Refused || *cuts != before).await;
    }
    // A reset, not an orderly end.
    _ = client.set_zero_linger();
}
