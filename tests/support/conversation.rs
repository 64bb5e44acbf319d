//! A TCP connection on which a line is sent and comes back.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::wait::{PATIENCE, until};

/// An open connection to an echo server that has said its name.
pub(crate) struct Conversation {
    stream: BufReader<TcpStream>,
    partner: String,
}

impl Conversation {
    /// Connects, again and again until an echo server greets.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        until(&format!("{address} greets"), async || {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            let mut stream = BufReader::new(stream);
            let partner = read(&mut stream).await?;
            Ok::<_, String>(Self { stream, partner })
        })
        .await
    }

    /// Who greeted.
    pub(crate) fn partner(&self) -> &str {
        &self.partner
    }

    /// Sends a line and waits until it comes back.
    pub(crate) async fn say(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        assert_eq!(read(&mut self.stream).await.as_deref(), Ok(line));
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Result<String, String> {
    let mut line = String::new();
    match timeout(PATIENCE, stream.read_line(&mut line)).await {
        Ok(Ok(0)) => Err("closed".to_owned()),
        Ok(Ok(_)) => Ok(line.trim_end().to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("nothing came".to_owned()),
    }
}
