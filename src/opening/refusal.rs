//! The answer to a client that speaks another protocol than the port does.
//!
//! It is HTTP/1 for all of them. A TLS client that reads it says "wrong version number" or "packet length too long":
//! people know that the port has no TLS then. A gRPC client that speaks HTTP/1 (an Envoy whose cluster lacks
//! `http2_protocol_options`) gets the text in `grpc-message`, and writes it to its own log.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Opening, WireProtocol};

/// How much of a request is read before it is answered.
const HEAD_MAX: usize = 8 << 10;

/// How long the rest of a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the client has to read the answer.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// gRPC's FAILED_PRECONDITION: it does not help to send the same again.
const FAILED_PRECONDITION: u8 = 9;

/// Whether the request that so begins is one of gRPC.
pub(crate) fn is_grpc(head: &[u8]) -> bool {
    let needle = b"application/grpc";
    head.windows(needle.len()).any(|part| part.eq_ignore_ascii_case(needle))
}

/// Answers with a text of one line, and closes the connection. `text` is given what was read of the request.
pub(crate) async fn refuse(mut stream: TcpStream, opening: Opening, text: impl FnOnce(&[u8]) -> String) {
    let mut head = BytesMut::from(&*opening.bytes);
    if opening.protocol == WireProtocol::Http1 {
        _ = timeout(HEAD_TIMEOUT, read_head(&mut stream, &mut head)).await;
    }
    let text = text(&head);
    let answer = if is_grpc(&head) { to_grpc(&text) } else { to_http(&text) };
    let answered = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // What is closed with bytes unread is reset, and the answer is lost.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    _ = timeout(READ_TIMEOUT, answered).await;
}

async fn read_head(stream: &mut TcpStream, head: &mut BytesMut) {
    let is_whole = |head: &[u8]| head.windows(4).any(|end| end == b"\r\n\r\n");
    while head.len() < HEAD_MAX && !is_whole(head) {
        if !matches!(stream.read_buf(head).await, Ok(1..)) {
            return;
        }
    }
}

fn to_http(text: &str) -> String {
    let length = text.len() + 1;
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{text}\n"
    )
}

/// Headers alone: only where no body follows, Envoy reads the status in them.
fn to_grpc(text: &str) -> String {
    // Percent-encoded as "gRPC over HTTP2" has it: the text is plain but for '%'.
    let text = text.replace('%', "%25");
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/grpc\r\ngrpc-status: {FAILED_PRECONDITION}\r\n\
         grpc-message: {text}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    )
}
