//! Requests through Envoy.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::scene::{Speaks, Target};

/// Everything has to be there by then.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More than any answer that is looked at.
const ANSWER_MAX_BYTES: usize = 1 << 20;

/// Where Envoy is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance {
    /// Its listener for every HTTP service.
    pub(super) http: SocketAddr,
    /// The address of its listeners for TCP services.
    pub(super) bind: IpAddr,
}

/// One request to the target. Tells which backend answered, or why none did.
pub(super) async fn call(entrance: Entrance, target: &Target) -> Result<String, String> {
    let answer = match target.speaks {
        Speaks::Http => http(entrance.http, target).await?,
        Speaks::Tcp => timely(greeting(SocketAddr::new(entrance.bind, target.port))).await?,
    };
    Ok(target.backend(&answer))
}

async fn http(entrance: SocketAddr, target: &Target) -> Result<String, String> {
    let authority = format!("{}:{}", target.host, target.port);
    let (status, body) = get(entrance, &authority, "/").await?;
    if status == StatusCode::OK {
        return Ok(String::from_utf8_lossy(&body).into_owned());
    }
    Err(status.to_string())
}

/// What an HTTP server answers to a GET, within a short time.
pub(super) async fn get(server: SocketAddr, host: &str, path: &str) -> Result<(StatusCode, Bytes), String> {
    timely(async {
        let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| error.to_string())?;
        let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::pin!(connection, answer);
        tokio::select! {
            answer = &mut answer => answer,
            // The connection may end before the last of the answer is taken up.
            _ = &mut connection => answer.await,
        }
    })
    .await
}

/// The first line that a TCP server says.
async fn greeting(server: SocketAddr) -> Result<String, String> {
    let stream = TcpStream::connect(server).await.map_err(|error| error.to_string())?;
    let mut line = String::new();
    let mut reader = BufReader::new(stream.take(ANSWER_MAX_BYTES as u64));
    match reader.read_line(&mut line).await {
        Ok(0) => Err("closed without an answer".into()),
        Ok(_) => Ok(line),
        Err(error) => Err(error.to_string()),
    }
}

async fn timely<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err(format!("no answer within {TIMEOUT:?}")))
}
