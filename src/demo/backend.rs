//! A small server that answers with its name.

use std::convert::Infallible;
use std::time::Duration;

use http::Response;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::scene::{Role, Speaks};

/// More connections than this wait until others end.
const CONNECTIONS_MAX: usize = 256;
/// After an error to accept (out of file descriptors), the next attempt waits.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers for ever, as what the role says at that moment.
pub(super) async fn serve(listener: TcpListener, role: watch::Receiver<Role>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, role.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn connection(stream: TcpStream, role: watch::Receiver<Role>) {
    let speaks = role.borrow().speaks;
    // Whoever hangs up in the middle has had enough.
    let _gone = match speaks {
        Speaks::Http => http(stream, role).await.map_err(std::io::Error::other),
        Speaks::Tcp => tcp(stream, role).await.map(|_bytes| ()),
    };
}

async fn http(stream: TcpStream, role: watch::Receiver<Role>) -> hyper::Result<()> {
    let service = service_fn(move |_request| {
        let answer = answer(&role);
        async move { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer)))) }
    });
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await
}

async fn tcp(mut stream: TcpStream, role: watch::Receiver<Role>) -> std::io::Result<u64> {
    let answer = answer(&role);
    stream.write_all(answer.as_bytes()).await?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await
}

fn answer(role: &watch::Receiver<Role>) -> String {
    format!("{}\n", role.borrow().name)
}
