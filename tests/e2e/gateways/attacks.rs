//! What clients get that try to be misunderstood, or to hold the proxy up: the table of docs/gateways.md.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::edge::{Edge, HTTP, all_to, bound, gateway, http_server};

/// Longer than a client may take for the headers of a request.
const LIMIT: Duration = Duration::from_secs(30);

/// What is sent, and what comes back: a status, and a part of the rest.
const TABLE: [(&str, &str, u16, &str); 18] = [
    ("dots in a path", "GET /a/../b HTTP/1.1\r\nHost: HOST\r\n\r\n", 200, ""),
    ("a slash that is encoded", "GET /a/..%2fb HTTP/1.1\r\nHost: HOST\r\n\r\n", 307, "location: /b\r\n"),
    ("a backslash that is encoded", "GET /a%5cb HTTP/1.1\r\nHost: HOST\r\n\r\n", 307, "location: /a/b\r\n"),
    ("several slashes", "GET //a//b HTTP/1.1\r\nHost: HOST\r\n\r\n", 200, ""),
    ("a zero in a path", "GET /a%00b HTTP/1.1\r\nHost: HOST\r\n\r\n", 400, ""),
    ("a header's name with _", "GET / HTTP/1.1\r\nHost: HOST\r\nx_forwarded_for: 1.2.3.4\r\n\r\n", 400, ""),
    ("no host", "GET / HTTP/1.1\r\n\r\n", 400, ""),
    ("another host", "GET / HTTP/1.1\r\nHost: shop.mesh\r\n\r\n", 404, ""),
    ("two hosts", "GET / HTTP/1.1\r\nHost: HOST\r\nHost: shop.mesh\r\n\r\n", 404, ""),
    (
        "a length and chunks",
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        400,
        "",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\naaaaaa",
        400,
        "",
    ),
    (
        "an encoding that looks like chunks",
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        501,
        "",
    ),
    (
        "chunks, and something else",
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        501,
        "",
    ),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
        "",
    ),
    ("a length that is none", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: -1\r\n\r\n", 400, ""),
    ("headers of 70 KiB", "GET / HTTP/1.1\r\nHost: HOST\r\nx-a: LONG\r\n\r\n", 431, ""),
    ("150 headers", "GET / HTTP/1.1\r\nHost: HOST\r\nMANY\r\n\r\n", 431, ""),
    ("headers that do not end", "GET / HTTP/1.1\r\nHost: HOS", 408, ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_misunderstood_or_holds_the_proxy_up() {
    let rules = gateway("edge", &http_server("shop.example.com"))
        + &bound("shop", "shop.example.com", &all_to("shop.mesh"));
    let Some(edge) = Edge::open(&[("edge.yaml", &rules)]).await else { return };
    edge.answers("shop.example.com", "/", 200, "shop").await;
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (what, sent, status, part) in TABLE {
        let sent = sent.replace("HOST", "shop.example.com");
        let sent = sent.replace("LONG", &"a".repeat(70 << 10)).replace("MANY\r\n", &many);
        let began = Instant::now();
        let answer = answer(edge.at(HTTP), &sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains(part), "{what}: {answer}");
        // One answer: what follows the request is not another one.
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
        assert!(began.elapsed() < LIMIT, "{what} took {:?}", began.elapsed());
    }
    edge.answers("shop.example.com", "/", 200, "shop").await;
}

/// What comes back until the server is done, or has nothing more to say.
async fn answer(at: SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 4096]);
    loop {
        // More than the first piece comes at once, or not at all.
        let patience = if answer.is_empty() { LIMIT } else { Duration::from_millis(300) };
        match timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => answer.extend_from_slice(&buffer[..read]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}
