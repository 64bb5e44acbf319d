//! Something between a relay and an etcd that spoils what etcd says.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How much of etcd's words passes before they stall: all of the connection's beginning, and a part of the
/// first page.
const STALL_AFTER: usize = 8 << 10;

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Bytes pass.
    Fair,
    /// New connections get an answer that makes no sense.
    Garbled,
    /// New connections get the beginning of what etcd says, and then nothing until the mood is fair.
    Stalling,
}

/// A TCP proxy that a test can spoil. Its connections end with it.
pub(crate) struct Gate {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// How many connections have stalled.
    stalled: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(crate) async fn to(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (mood, stalled) = (watch::Sender::new(Mood::Fair), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        let (moods, counted) = (mood.subscribe(), stalled.clone());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (moods, counted) = (moods.clone(), counted.clone());
                connections.spawn(async move {
                    _ = pass(client, server, moods, counted).await;
                });
            }
        });
        Ok(Self { address, mood, stalled, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Waits until a connection has stalled.
    pub(crate) async fn stalled(&self) {
        let mut stalled = self.stalled.subscribe();
        stalled.wait_for(|count| *count > 0).await.expect("the gate itself keeps the channel");
    }
}

async fn pass(
    mut client: TcpStream,
    server: SocketAddr,
    mut moods: watch::Receiver<Mood>,
    stalled: watch::Sender<usize>,
) -> Result<()> {
    let mood = *moods.borrow_and_update();
    if mood == Mood::Garbled {
        let mut question = [0; 1024];
        _ = client.read(&mut question).await?;
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhello\n").await?;
        return Ok(client.shutdown().await?);
    }
    let upstream = TcpStream::connect(server).await?;
    _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = upstream.into_split();
    let answers = async {
        if mood == Mood::Stalling {
            let mut beginning = [0; STALL_AFTER];
            let mut left = STALL_AFTER;
            while left > 0 {
                let count = from_server.read(&mut beginning[..left]).await?;
                anyhow::ensure!(count > 0, "etcd ended the connection");
                to_client.write_all(&beginning[..count]).await?;
                left -= count;
            }
            stalled.send_modify(|count| *count += 1);
            moods.wait_for(|mood| *mood == Mood::Fair).await?;
        }
        anyhow::Ok(copy(&mut from_server, &mut to_client).await?)
    };
    tokio::select! {
        _ = answers => {}
        _ = copy(&mut from_client, &mut to_server) => {}
    }
    Ok(())
}
