//! How the process starts and ends, and what it survives in between.

use std::fs;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http;
use crate::support::pilot::Pilot;
use crate::support::process::Process;
use crate::support::services::service;
use crate::support::tools::envoy;
use crate::support::wait::{holds, until};

#[tokio::test(flavor = "multi_thread")]
async fn second_pilot_on_a_taken_port_says_so_and_ends() {
    let backend = Backend::http("a").await;
    let first = Pilot::start(&service("a.local", 9080, "http", &[backend.place()])).await;
    let mut command = first.command(&["serve", "--config"]);
    let mut second = Process::spawn("second", first.folder(), command.arg(first.config()));
    let status = second.ended().await;
    let output = second.output();
    assert!(!status.success(), "{status}: {output}");
    assert!(output.contains(&first.xds_address().to_string()), "no word of the address: {output}");
    assert!(output.to_lowercase().contains("in use"), "no word of the reason: {output}");
    assert!(!output.contains("panicked"), "{output}");
    http::body(first.admin_address(), "localhost", "/readyz").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn l7_starts_with_an_empty_environment() {
    let mut pilot = Pilot::prepare("service = []");
    let mut command = pilot.command(&["serve", "--config"]);
    pilot.spawn_with(command.env_clear());
    pilot.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l23_termination_ends_long_lived_streams_within_the_deadline() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::prepare(&service("a.local", 9080, "http", &[backend.place()]));
    pilot.configure("[xds]", "[xds]\ndrain_timeout = \"3s\"");
    pilot.spawn();
    pilot.ready().await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    envoy.is_connected(true).await;
    let asked = Instant::now();
    pilot.process().signal("TERM");
    let status = pilot.process().ended().await;
    assert!(status.success(), "{status}");
    assert!(asked.elapsed() < Duration::from_secs(10), "the deadline was 3 s: {:?}", asked.elapsed());
    envoy.is_connected(false).await;
    envoy.answers("a.local", "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn l23_second_signal_ends_at_once() {
    let Some(envoy) = envoy() else { return };
    let backend = Backend::http("a").await;
    let mut pilot = Pilot::prepare(&service("a.local", 9080, "http", &[backend.place()]));
    pilot.configure("[xds]", "[xds]\ndrain_timeout = \"1h\"");
    pilot.spawn();
    pilot.ready().await;
    let _envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    pilot.process().signal("TERM");
    until("pilot is draining", async || {
        holds(pilot.process().output().contains("ending"), "it has not said so")
    })
    .await;
    assert_eq!(pilot.process().status(), None, "an hour is not over");
    let ready = http::get(pilot.admin_address(), "localhost", "/readyz").await.unwrap();
    assert_eq!(ready.status, 503, "no new proxies are to be sent here");
    assert!(ready.body.starts_with("ending"), "{}", ready.body);
    http::body(pilot.admin_address(), "localhost", "/livez").await.unwrap();
    let status = until("one that is not of the first moment ends it", async || {
        pilot.process().signal("TERM");
        pilot.process().status().ok_or("it runs")
    })
    .await;
    assert!(!status.success(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn l21_clients_that_send_garbage_or_hang_up_harm_nobody() {
    let Some(envoy) = envoy() else { return };
    let backends = [Backend::http("a").await, Backend::http("b").await];
    let services = |backend: &Backend| service("a.local", 9080, "http", &[backend.place()]);
    let mut pilot = Pilot::start(&services(&backends[0])).await;
    let envoy = Envoy::start(&envoy, &pilot, Kind::Delta).await;
    for address in [pilot.xds_address(), pilot.admin_address()] {
        for garbage in
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], &[0; 4096], b""]
        {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(garbage).await.unwrap();
        }
    }
    pilot.write_services(&services(&backends[1]));
    envoy.answers("a.local", "b").await;
    pilot.process().assert_alive();
    let output = pilot.process().output();
    assert!(!output.contains("panicked"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_is_wrong_names_the_key_and_its_place() {
    let pilot = Pilot::prepare("service = []");
    pilot.configure("[router]", "[router]\nhttp_lisen = \"127.0.0.1:1\"");
    let mut command = pilot.command(&["serve", "--config"]);
    let mut process = Process::spawn("wrong", pilot.folder(), command.arg(pilot.config()));
    let status = process.ended().await;
    let output = process.output();
    assert!(!status.success(), "{status}: {output}");
    let text = fs::read_to_string(pilot.config()).unwrap();
    let line = text.lines().position(|line| line.contains("http_lisen")).expect("it was written") + 1;
    for part in ["http_lisen", "http_listen", &format!("pilot.toml:{line}:")] {
        assert!(output.contains(part), "no {part:?} in: {output}");
    }
}
