//! What probes see: an answer while pilot is busy, and the truth while it ends.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use http::StatusCode;
use pilot::Listeners;
use pilot::admin::Readiness;
use pilot::config::Config;
use pilot::registries::Sources;
use pilot::shutdown::shutdown;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::fixture::{DEADLINE, pilot, snapshot};

/// Asks without any runtime, as a probe does. It gives up after a while.
fn get(addr: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn probes_are_answered_while_all_threads_that_serve_proxies_are_busy() {
    const WORKERS: usize = 2;
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap();
    let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listeners = runtime.block_on(async { Listeners { xds: bind().await, admin: bind().await } });
    let addr = listeners.admin.local_addr().unwrap();
    let (trigger, shutdown) = shutdown();
    let mut running = JoinSet::new();
    let run = async move { pilot::run(&Config::default(), Sources::default(), listeners, shutdown).await };
    running.spawn_on(run, runtime.handle());
    assert!(get(addr, "/livez").unwrap().starts_with("HTTP/1.1 200 "));

    let (mut busy, begun, mut release) = (JoinSet::new(), Arc::new(Barrier::new(WORKERS + 1)), Vec::new());
    for _ in 0..WORKERS {
        let (begun, (sender, released)) = (Arc::clone(&begun), sync_channel::<()>(1));
        release.push(sender);
        let works = async move {
            begun.wait();
            _ = released.recv();
        };
        busy.spawn_on(works, runtime.handle());
    }
    begun.wait();
    for path in ["/livez", "/readyz", "/metrics", "/debug/registries"] {
        let answer = get(addr, path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer.starts_with("HTTP/1.1 "), "{path}: {answer}");
    }
    drop(release);
    trigger.begin();
    runtime.block_on(async { while busy.join_next().await.is_some() {} });
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, running.join_next()).await });
    ended.expect("it ends in time").unwrap().unwrap().unwrap();
    assert!(get(addr, "/livez").is_err(), "its thread is gone");
    runtime.shutdown_timeout(Duration::from_secs(1));
}

#[tokio::test]
async fn from_the_first_signal_on_pilot_is_not_ready_and_alive() {
    let pilot = pilot(&["east"]).await;
    pilot.sinks[0].publish(snapshot(&["a.local"]));
    pilot.ready().await;
    pilot.trigger.begin();
    let answer = pilot.get("/readyz").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.body, "ending: no new proxies are taken\n");
    assert_eq!(pilot.get("/livez").await.status, StatusCode::OK);
    let request =
        pilot.request(http::Method::GET, "/readyz").header(http::header::ACCEPT, "application/json");
    let answer = pilot.send(request.body(http_body_util::Empty::new()).unwrap()).await;
    let readiness: Readiness = answer.json();
    assert!(readiness.ending && !readiness.ready, "{readiness:?}");
}
