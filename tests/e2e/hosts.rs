//! Requests with the hosts that clients really send, through the newest and the oldest Envoy.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::backend::{Backend, MISSING};
use crate::support::conversation::Conversation;
use crate::support::envoy::{Envoy, Kind};
use crate::support::grpc::{GrpcBackend, GrpcClient};
use crate::support::http::{self, Answer};
use crate::support::loopback::own_address;
use crate::support::pilot::Pilot;
use crate::support::services::service;
use crate::support::tools::{envoy, oldest_envoy, python};
use crate::support::wait::{holds, until, within};

fn envoys() -> impl Iterator<Item = PathBuf> {
    [envoy(), oldest_envoy()].into_iter().flatten()
}

/// Asks until the answer is this one.
async fn answered(at: SocketAddr, host: &str, status: u16, body: &str) {
    until(&format!("{host:?} at {at} is answered {status} {body:?}"), async || {
        let answer = http::get(at, host, "/").await?;
        holds(answer.status == status && answer.body == body, format!("{} {:?}", answer.status, answer.body))
    })
    .await;
}

/// What comes back for these bytes on a connection of its own, until it ends.
async fn raw(at: SocketAddr, request: &str) -> String {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    within(std::time::Duration::from_secs(10), "an answer", exchange).await
}

/// `two.local` with a backend at each of its ports 9080 and 9090.
fn two_ports(one: &Backend, two: &Backend) -> String {
    let (one, two) = (one.socket().port(), two.socket().port());
    format!(
        "[[service]]\nhost = \"two.local\"\nports = [\n\
         {{ port = 9080, protocol = \"http\", name = \"one\" }},\n\
         {{ port = 9090, protocol = \"http\", name = \"two\" }},\n]\n\
         endpoints = [{{ address = \"127.0.0.1\", ports = {{ one = {one}, two = {two} }} }}]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_have_a_final_dot_capitals_and_any_port() {
    for binary in envoys() {
        let (one, two) = (Backend::http("one").await, Backend::http("two").await);
        let other = Backend::http("other").await;
        let services = two_ports(&one, &two) + &service("other.local", 9090, "http", &[other.place()]);
        let pilot = Pilot::start(&services).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        for (port, host, body) in [
            (15080, "two.local", "one"),
            (15080, "two.local.", "one"),
            (15080, "TWO.local.:8888", "one"),
            (15080, "two.local:8888", "one"),
            (15080, "two.local:80", "one"),
            (15080, "two.local:15080", "one"),
            (15080, "two.local:9080", "one"),
            (15080, "two.local:9090", "two"),
            (15080, "two.local.:9090", "two"),
            (15080, "other.local:1", "other"),
            // There the port is the one that is dialled.
            (9080, "two.local:9090", "one"),
            (9080, "two.local.", "one"),
            (9090, "two.local:8888", "two"),
            (9090, "Two.Local.:9080", "two"),
            (9090, "other.local:8888", "other"),
        ] {
            answered(envoy.port(port), host, 200, body).await;
        }
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_served_with_a_host_and_without_one() {
    for binary in envoys() {
        let web = Backend::http("web").await;
        let one = service("web.local", 9080, "http", &[web.place()]);
        let pilot = Pilot::start(&one).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        for port in [9080, 15080] {
            answered(envoy.port(port), "web.local", 200, "web").await;
            for request in [
                "GET / HTTP/1.0\r\nHost: web.local\r\n\r\n",
                "GET / HTTP/1.0\r\n\r\n",
                "GET / HTTP/1.0\r\nHost:\r\n\r\n",
            ] {
                let answer = raw(envoy.port(port), request).await;
                assert!(answer.contains(" 200 ") && answer.ends_with("web"), "{port} {request:?}: {answer}");
            }
        }
        pilot.write_services(&(one + &service("api.local", 9080, "http", &[web.place()])));
        answered(envoy.port(9080), "api.local", 200, "web").await;
        let answer = raw(envoy.port(9080), "GET / HTTP/1.0\r\n\r\n").await;
        let words = "pilot: port 9080 has services api.local and web.local: say which in the Host header";
        assert!(answer.contains(" 404 ") && answer.ends_with(words), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_service_is_localhost_and_ip_addresses_mean_it() {
    for binary in envoys() {
        let (web, api) = (Backend::http("web").await, Backend::http("api").await);
        let one = service("web.local", 9080, "http", &[web.place()]);
        let two = one.clone() + &service("api.local", 9080, "http", &[api.place()]);
        let pilot = Pilot::start(&one).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Sotw).await;
        let address = pilot.address().to_string();
        let hosts = |port: u16| {
            let hosts = ["localhost", "LocalHost.", &address, "10.0.0.7", "[::1]", "[2001:db8::7]"];
            let with_port = hosts.map(|host| format!("{host}:{port}"));
            hosts.map(str::to_owned).into_iter().chain(with_port).collect::<Vec<_>>()
        };
        for port in [9080, 15080] {
            for host in hosts(port) {
                answered(envoy.port(port), &host, 200, "web").await;
            }
        }

        pilot.write_services(&two);
        answered(envoy.port(9080), "api.local", 200, "api").await;
        for port in [9080, 15080] {
            let words = format!(
                "pilot: port {port} has services api.local and web.local: say which in the Host header"
            );
            for host in hosts(port) {
                answered(envoy.port(port), &host, 404, &words).await;
            }
        }

        pilot.write_services(&one);
        answered(envoy.port(9080), "localhost", 200, "web").await;
        envoy.assert_no_rejections().await;
    }
}

fn is_told(answer: &Answer, words: &str) {
    let kind = answer.header("content-type").split(';').next().unwrap_or_default();
    assert_eq!((answer.status.as_u16(), &*answer.body, kind), (404, words, "text/plain"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_no_service_has_is_told_so() {
    for binary in envoys() {
        let web = Backend::http("web").await;
        let pilot = Pilot::start("service = []\n").await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        for host in ["web.local", "localhost"] {
            let words = format!("pilot: no service has host {host} on port 15080");
            answered(envoy.http_address(), host, 404, &words).await;
        }
        let bytes = service("db.local", 9432, "tcp", &[web.place()]);
        pilot.write_services(&(service("web.local", 9080, "http", &[web.place()]) + &bytes));
        answered(envoy.port(9080), "web.local", 200, "web").await;
        // One that speaks no HTTP has no host here.
        answered(envoy.http_address(), "db.local", 404, "pilot: no service has host db.local on port 15080")
            .await;
        for port in [9080, 15080] {
            answered(envoy.port(port), "localhost", 200, "web").await;
            for host in ["wep.local", "WEP.local:77", "1.2.3.4.5", "localhost.local", "a%25b"] {
                let answer = http::get(envoy.port(port), host, "/any?path").await.unwrap();
                is_told(&answer, &format!("pilot: no service has host {host} on port {port}"));
            }
            let host = format!("wep.local:{port}");
            let answer = http::get(envoy.port(port), &host, "/any?path").await.unwrap();
            is_told(&answer, &format!("pilot: no service has host {host}"));
            let call = "POST /a.B/C HTTP/1.1\r\nHost: wep.local\r\nContent-Type: application/grpc\r\n\
                        Connection: close\r\nContent-Length: 0\r\n\r\n";
            let answer = raw(envoy.port(port), call).await;
            let words = format!("grpc-message: pilot: no service has host wep.local on port {port}\r\n");
            assert!(answer.contains("grpc-status: 12\r\n") && answer.contains(&words), "{answer}");
            // What a service does not have it says itself.
            let answer = http::get(envoy.port(port), "web.local", MISSING).await.unwrap();
            assert_eq!((answer.status.as_u16(), &*answer.body), (404, "web"));
        }
    }
}

/// grpcio says the address that it dials as the authority.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_reach_the_only_service_of_a_port_and_are_told_why_not() {
    let Some(python) = python() else { return };
    for binary in envoys() {
        let (users, orders) = (GrpcBackend::start(&python, "users"), GrpcBackend::start(&python, "orders"));
        let one = service("users.local", 9151, "grpc", &[users.place()]);
        let two = one.clone() + &service("orders.local", 9151, "grpc", &[orders.place()]);
        let pilot = Pilot::start(&one).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let mut client = GrpcClient::start(&python, &pilot, &envoy.port(9151).to_string());
        until("users answers", async || {
            let answer = client.call()?;
            holds(answer == "users", answer)
        })
        .await;
        pilot.write_services(&two);
        let words = "error UNIMPLEMENTED pilot: port 9151 has services orders.local and users.local: \
                     say which in the Host header";
        until("the call is told that there are two", async || match client.call() {
            Err(answer) => holds(answer == words, answer),
            Ok(answer) => Err(answer),
        })
        .await;
    }
}

/// What the backend was told.
fn forwarded_for(answer: &str) -> &str {
    let line = answer.lines().find_map(|line| line.strip_prefix("x-seen-forwarded-for:"));
    line.unwrap_or_else(|| panic!("nothing was seen: {answer}")).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_loopback_services_are_told_where_clients_are() {
    for binary in envoys() {
        let web = Backend::http("web").await;
        let mut pilot = Pilot::prepare(&service("web.local", 9080, "http", &[web.place()]));
        let everywhere = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap();
        let here = format!("http_listen = \"{}:15080\"", pilot.address());
        pilot.configure(&here, &format!("http_listen = \"{everywhere}\""));
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        let edge = SocketAddr::from(([127, 0, 0, 1], everywhere.port()));
        answered(edge, "web.local", 200, "web").await;
        let request =
            |header: &str| format!("GET / HTTP/1.1\r\nHost: web.local\r\nConnection: close\r\n{header}\r\n");
        // Of a client on loopback Envoy says the machine's own address.
        let answer = raw(edge, &request("")).await;
        let client: IpAddr = forwarded_for(&answer).parse().unwrap();
        let answer = raw(edge, &request("X-Forwarded-For: 10.9.9.9\r\n")).await;
        assert_eq!(forwarded_for(&answer), format!("10.9.9.9,{client}"));
        let answer = raw(edge, &request("X_Forwarded_For: 10.9.9.9\r\n")).await;
        assert!(answer.contains(" 400 "), "{answer}");
        // Who may ask is not known: no service is named.
        pilot.write_services(
            &["a.local", "b.local"].map(|host| service(host, 9080, "http", &[web.place()])).concat(),
        );
        let words = format!("pilot: port {} has several services: say which in the Host header", edge.port());
        answered(edge, "127.0.0.1", 404, &words).await;

        // On loopback whoever calls is of this machine, and is believed.
        answered(envoy.port(9080), "a.local", 200, "web").await;
        let answer = raw(envoy.port(9080), &request("").replace("web.local", "a.local")).await;
        assert_eq!(forwarded_for(&answer), "");
        let forwarded = request("X-Forwarded-For: 10.9.9.9\r\n").replace("web.local", "a.local");
        assert_eq!(forwarded_for(&raw(envoy.port(9080), &forwarded).await), "10.9.9.9");
        envoy.assert_no_rejections().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tcp_service_with_a_virtual_address_is_reached_there_and_through_the_router() {
    for binary in envoys() {
        let (db, other) = (Backend::echo("db").await, Backend::echo("other").await);
        let virtual_address = own_address();
        let addresses = format!("addresses = [\"{virtual_address}\"]\n");
        let one = service("db.local", 9432, "tcp", &[db.place()]) + &addresses;
        let pilot = Pilot::start(&one).await;
        let envoy = Envoy::start(&binary, &pilot, Kind::Delta).await;
        for at in [envoy.port(9432), SocketAddr::from((virtual_address, 9432))] {
            assert_eq!(Conversation::open(at).await.partner(), "db", "{at}");
        }
        // Who has no other way in goes before it.
        pilot.write_services(&(one + &service("zzz.local", 9432, "tcp", &[other.place()])));
        until("the other has the port", async || {
            let partner = Conversation::open(envoy.port(9432)).await.partner().to_owned();
            holds(partner == "other", partner)
        })
        .await;
        let at = SocketAddr::from((virtual_address, 9432));
        assert_eq!(Conversation::open(at).await.partner(), "db");
        let report = pilot.debug("/debug/services").await.unwrap();
        let words = format!("db.local cannot be reached at {}: zzz.local has it", envoy.port(9432));
        assert!(report["conflicts"].to_string().contains(&words), "{report}");
        envoy.assert_no_rejections().await;
    }
}
