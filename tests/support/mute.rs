//! A connection that falls silent: it stays open, and nothing that one side says arrives any more.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::between::Between;

/// Carries what is said, until it is told to be silent.
pub(crate) struct Mute {
    between: Between,
    silences: watch::Sender<u64>,
}

impl Mute {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let (silences, _) = watch::channel(0);
        let heard = silences.clone();
        let between = Between::before(server, move |mut client, mut server| {
            let mut silence = heard.subscribe();
            async move {
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut server) => {}
                    Ok(()) = silence.changed() => {
                        tokio::join!(swallow(client), swallow(server));
                    }
                }
            }
        })
        .await;
        Self { between, silences }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.between.address()
    }

    /// Silences the connections that there are. Later ones work.
    pub(crate) fn fall_silent(&self) {
        self.silences.send_modify(|count| *count += 1);
    }
}

async fn swallow(mut from: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(1..) = from.read(&mut buffer).await {}
}
