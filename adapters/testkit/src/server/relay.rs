//! A proxy in front of a server whose connections a test can cut.

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

/// What a test has said.
#[derive(Clone, Copy, Debug)]
struct Said {
    way: Way,
    /// How often open connections have been cut.
    cuts: u64,
    /// How often they have been forgotten.
    forgets: u64,
}

impl Said {
    /// Whether what was opened when `before` was said does not go on.
    fn is_closed(self, before: Self) -> bool {
        self.way != Way::Open || self.cuts != before.cuts
    }
}

/// A TCP proxy in front of a server, which drops or refuses when a test says so. Its connections end with
/// it.
#[derive(Debug)]
pub struct Relay {
    acceptor: Acceptor,
    said: watch::Sender<Said>,
    open: Arc<()>,
}

impl Relay {
    /// A relay to `server`, on a loopback port of its own.
    ///
    /// # Errors
    /// The system has no port left.
    pub async fn to(server: SocketAddr) -> Result<Self> {
        let said = watch::Sender::new(Said { way: Way::Open, cuts: 0, forgets: 0 });
        let open = Arc::new(());
        let (heard, counted) = (said.subscribe(), Arc::clone(&open));
        let acceptor = Acceptor::start(move |client| {
            let (heard, counted) = (heard.clone(), Arc::clone(&counted));
            async move {
                pass(client, server, heard).await;
                drop(counted);
            }
        });
        Ok(Self { acceptor: acceptor.await?, said, open })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Resets what is open and refuses what comes.
    pub fn refuse(&self) {
        self.said.send_modify(|said| said.way = Way::Refused);
    }

    /// Lets nothing through any more, without telling anybody.
    pub fn silence(&self) {
        self.said.send_modify(|said| said.way = Way::Silent);
    }

    /// Lets everything through again. Connections that fell silent stay so: what was lost stays lost.
    pub fn open(&self) {
        self.said.send_modify(|said| said.way = Way::Open);
    }

    /// Resets what is open; new connections are as before.
    pub fn cut(&self) {
        self.said.send_modify(|said| said.cuts += 1);
    }

    /// Forgets what is open, as a load balancer does that is started again: each connection is reset when either
    /// side says something on it, and not before. New connections are as before.
    pub fn forget(&self) {
        self.said.send_modify(|said| said.forgets += 1);
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        // One is ours, one the listener's.
        Arc::strong_count(&self.open).saturating_sub(2)
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut heard: watch::Receiver<Said>) {
    let before = *heard.borrow_and_update();
    if before.way == Way::Open
        && let Ok(mut upstream) = TcpStream::connect(server).await
    {
        _ = upstream.set_nodelay(true);
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut upstream) => return,
            () = closed_or_forgotten(&mut heard, before) => {}
        }
        // What is only forgotten waits for somebody to speak.
        tokio::select! {
            () = closed(&mut heard, before) => {}
            _ = client.readable() => {}
            _ = upstream.readable() => {}
        }
    }
    silent_or_reset(client, heard).await;
}

// The relay has ended if there is no sender: so does the task that waits here, by abort.

async fn closed_or_forgotten(heard: &mut watch::Receiver<Said>, before: Said) {
    _ = heard.wait_for(|said| said.is_closed(before) || said.forgets != before.forgets).await;
}

async fn closed(heard: &mut watch::Receiver<Said>, before: Said) {
    _ = heard.wait_for(|said| said.is_closed(before)).await;
}

/// Holds a silent connection until it is refused or the relay ends.
async fn silent_or_reset(client: TcpStream, mut heard: watch::Receiver<Said>) {
    let before = *heard.borrow();
    if before.way == Way::Silent {
        _ = heard.wait_for(|said| said.way == Way::Refused || said.cuts != before.cuts).await;
    }
    // A reset, not an orderly end.
    _ = client.set_zero_linger();
}
