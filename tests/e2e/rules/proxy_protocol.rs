//! Servers that want to know the client's address before anything else.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::shop::{Asked, Shop};
use crate::support::http::Connection;
use crate::support::services::{Place, service};

/// A server of HTTP that answers with what it was told before the request: version and client's address.
struct Told {
    place: Place,
    _accepting: JoinSet<()>,
}

impl Told {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Place::at(&listener.local_addr().unwrap().to_string());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(async move { _ = answer(stream).await });
            }
        });
        Self { place, _accepting: accepting }
    }
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let told = told(&mut stream).await?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{told}", told.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// The header as haproxy's proxy-protocol.txt has it, sections 2.1 and 2.2; or the first bytes of what is there instead.
async fn told(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut first = [0; 12];
    stream.read_exact(&mut first).await?;
    if &first == b"\r\n\r\n\0\r\nQUIT\n" {
        let [command, family] = [stream.read_u8().await?, stream.read_u8().await?];
        let mut rest = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut rest).await?;
        assert_eq!((command, family, rest.len()), (0x21, 0x11, 12), "PROXY, TCP over IPv4, two addresses");
        let port = u16::from_be_bytes([rest[8], rest[9]]);
        return Ok(format!("V2 {}.{}.{}.{}:{port}", rest[0], rest[1], rest[2], rest[3]));
    }
    if !first.starts_with(b"PROXY TCP4 ") {
        return Ok(format!("nothing: {}", String::from_utf8_lossy(&first)));
    }
    let mut line = first.to_vec();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(format!("V1 {}:{}", words[2], words[4]))
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_told_the_address_of_each_client_in_the_version_that_a_document_says() {
    let server = Arc::new(Told::start().await);
    let says = |version: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: told}}\nspec:\n  host: told.local\n  \
             trafficPolicy: {{proxyProtocol: {{version: {version}}}}}\n"
        )
    };
    let Some(shop) = Shop::open(&[("told.yaml", &says("V1"))]).await else { return };
    let services = std::fs::read_to_string(shop.pilot.services()).unwrap();
    shop.pilot.write_services(
        &(services + &service("told.local", 8080, "http", std::slice::from_ref(&server.place))),
    );
    let asked = Asked { host: "told.local", path: "/", headers: &[] };
    for version in ["V1", "V2", "V1"] {
        shop.write("told.yaml", &says(version));
        shop.until(version, &asked, |answer| answer.body.starts_with(version)).await;
        // Connections to the server are not shared by clients.
        for _ in 0..3 {
            let mut client = Connection::open(shop.envoy.http_address()).await.unwrap();
            let own = client.local_addr();
            for _ in 0..2 {
                let answer = client.send(asked.builder()).await.unwrap();
                assert_eq!(answer.body, format!("{version} {own}"));
            }
        }
    }
    shop.remove("told.yaml");
    shop.until("nothing is said", &asked, |answer| answer.body.starts_with("nothing")).await;
    shop.envoy.assert_no_rejections().await;
}
