//! The first bytes of a connection: which protocol a client speaks.
//!
//! ```text
//!  TcpStream ──► Opening::read ─┬─ what the port serves ──► Rewound: the same bytes, once more
//!                               └─ anything else ─────────► refusal: an answer that the client understands
//! ```

mod refusal;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use refusal::{is_grpc, refuse};

/// What an HTTP/2 client says first (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How a TLS client begins: a handshake record (22) of version 3.x (RFC 8446, section 5.1).
const TLS: &[u8] = &[0x16, 0x03];

/// The longest name of a method that is thought of, in bytes.
const METHOD_MAX: usize = 16;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum WireProtocol {
    /// HTTP/2 without TLS, without asking for it in HTTP/1 first.
    Http2,
    /// HTTP/1 without TLS.
    Http1,
    /// TLS.
    Tls,
    /// Nothing that is known here.
    Unknown,
}

/// What a client has said first.
#[derive(Debug)]
pub(crate) struct Opening {
    /// The bytes that were read. Empty: the client closed the connection and said nothing.
    pub(crate) bytes: Bytes,
    /// What they are the beginning of.
    pub(crate) protocol: WireProtocol,
}

impl Opening {
    /// Reads as much as it takes to tell what the client speaks. It waits for the client without a limit.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Self> {
        let (mut buffer, mut length) = ([0; PREFACE.len()], 0);
        loop {
            let came = stream.read(&mut buffer[length..]).await?;
            length += came;
            let bytes = &buffer[..length];
            let ended = (came == 0).then_some(WireProtocol::Unknown);
            if let Some(protocol) = protocol(bytes).or(ended) {
                return Ok(Self { bytes: Bytes::copy_from_slice(bytes), protocol });
            }
        }
    }
}

/// What so begins; `None` = that takes more bytes.
fn protocol(bytes: &[u8]) -> Option<WireProtocol> {
    let method = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
    let may_be_method = method.len() <= METHOD_MAX && method.iter().all(u8::is_ascii_uppercase);
    let is_part_of_method = may_be_method && method.len() == bytes.len();
    let may_be_more = PREFACE.starts_with(bytes) || TLS.starts_with(bytes) || is_part_of_method;
    if bytes == PREFACE {
        Some(WireProtocol::Http2)
    } else if bytes.starts_with(TLS) {
        Some(WireProtocol::Tls)
    } else if may_be_more {
        None
    } else if may_be_method && !bytes.starts_with(b"PROXY ") {
        Some(WireProtocol::Http1)
    } else {
        Some(WireProtocol::Unknown)
    }
}

/// A connection of which the first bytes were read, and are read once more.
#[derive(Debug)]
pub(crate) struct Rewound {
    head: Bytes,
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl Rewound {
    /// The connection as if nothing of it had been read.
    pub(crate) fn new(head: Bytes, stream: TcpStream) -> Self {
        Self { head, stream, _place: None }
    }

    /// It holds that place until it is dropped.
    pub(crate) fn holding(self, place: OwnedSemaphorePermit) -> Self {
        Self { _place: Some(place), ..self }
    }

    /// The connection itself.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        let fits = self.head.len().min(buffer.remaining());
        buffer.put_slice(&self.head[..fits]);
        self.head.advance(fits);
        if self.head.is_empty() {
            // Nothing of it is kept: connections live for long.
            self.head = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is told of a client that says this in pieces of one byte.
    async fn told(said: &[u8]) -> (WireProtocol, Bytes) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let says = async {
            for byte in said {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let (opening, ()) = tokio::join!(Opening::read(&mut server), says);
        let opening = opening.unwrap();
        let mut rewound = Rewound::new(opening.bytes.clone(), server);
        let mut all = Vec::new();
        rewound.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, said, "it is all there once more");
        (opening.protocol, opening.bytes)
    }

    #[tokio::test]
    async fn what_a_client_speaks_is_told_by_its_first_bytes_however_they_come() {
        for (said, protocol) in [
            (&[PREFACE, &b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"[..]].concat()[..], WireProtocol::Http2),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", WireProtocol::Http1),
            (b"POST /a HTTP/1.1\r\n\r\n", WireProtocol::Http1),
            (b"OPTIONS * HTTP/1.1\r\n\r\n", WireProtocol::Http1),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01", WireProtocol::Tls),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", WireProtocol::Unknown),
            (b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", WireProtocol::Http1),
            (b"\xff\xff", WireProtocol::Unknown),
            (b"HELLO", WireProtocol::Unknown),
            (b"", WireProtocol::Unknown),
        ] {
            assert_eq!(told(said).await.0, protocol, "{}", said.escape_ascii());
        }
        assert_eq!(told(b"").await.1.len(), 0);
    }
}
