//! A connection on which one side's words are changed.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::between::Between;

/// Bytes that are changed to others.
type Words = [u8; 5];

/// Wherever clients say the one, the server hears the other.
pub(crate) async fn before(server: SocketAddr, said: Words, heard: Words) -> Between {
    Between::before(server, move |client, server| async move {
        let (client_said, mut to_client) = client.into_split();
        let (mut server_said, to_server) = server.into_split();
        let back = async move { _ = copy(&mut server_said, &mut to_client).await };
        tokio::join!(change(client_said, to_server, said, heard), back);
    })
    .await
}

async fn change(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, said: Words, heard: Words) {
    let (mut buffer, mut begun) = (vec![0; 64 << 10], Vec::new());
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        begun.extend_from_slice(&buffer[..count]);
        for at in 0..begun.len().saturating_sub(said.len() - 1) {
            if begun[at..].starts_with(&said) {
                begun[at..at + said.len()].copy_from_slice(&heard);
            }
        }
        // What is cut within the words waits for the rest of them.
        let cut = (2..said.len()).rev().find(|len| begun.ends_with(&said[..*len])).unwrap_or(0);
        let rest = begun.split_off(begun.len() - cut);
        if to.write_all(&begun).await.is_err() {
            return;
        }
        begun = rest;
    }
}
