//! A connection on which one side's words arrive late.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::between::Between;

/// What clients say arrives that much later at the server, in order; what it says, at once.
pub(crate) async fn before(server: SocketAddr, delay: Duration) -> Between {
    Between::before(server, move |client, server| async move {
        let (client_said, to_client) = client.into_split();
        let (server_said, to_server) = server.into_split();
        tokio::join!(carry(client_said, to_server, delay), carry(server_said, to_client, Duration::ZERO));
    })
    .await
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let read = async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = receiver.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(read, write);
}
