//! Rules for connections, and TLS services that share a port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::shop::Shop;
use crate::support::backend::Backend;
use crate::support::services::service;
use crate::support::wait::{holds, until};

/// A connection, and who answered it.
struct Line {
    stream: BufReader<TcpStream>,
    by: String,
}

impl Line {
    /// `Err` = nobody answers.
    async fn open(at: SocketAddr, first: &[u8]) -> Result<Self, String> {
        let opened = timeout(Duration::from_secs(10), async {
            let mut stream = TcpStream::connect(at).await.map_err(|error| error.to_string())?;
            stream.write_all(first).await.map_err(|error| error.to_string())?;
            let mut stream = BufReader::new(stream);
            let mut by = String::new();
            match stream.read_line(&mut by).await {
                Ok(0) => Err("closed".to_owned()),
                Ok(_) => Ok(Self { stream, by: by.trim_end().to_owned() }),
                Err(error) => Err(error.to_string()),
            }
        });
        opened.await.unwrap_or_else(|_| Err("no answer".to_owned()))
    }

    /// Whether what is sent comes back.
    async fn is_alive(&mut self) -> bool {
        let sent = self.stream.get_mut().write_all(b"\nare you there?\n").await;
        let mut line = Vec::new();
        while sent.is_ok() {
            line.clear();
            match timeout(Duration::from_secs(10), self.stream.read_until(b'\n', &mut line)).await {
                Ok(Ok(read)) if read > 0 && !line.ends_with(b"are you there?\n") => {}
                Ok(Ok(read)) => return read > 0,
                _ => return false,
            }
        }
        false
    }
}

/// The first bytes of a client of TLS that asks for that name; `None` = for none.
fn hello(name: Option<&str>) -> Vec<u8> {
    let config = ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    // Who calls an address asks for no name.
    let name = ServerName::try_from(name.unwrap_or("127.0.0.1").to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

fn tcp_routes(route: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: db}}\nspec:\n  hosts: [db.local]\n  tcp:\n\
         {route}"
    )
}

const SUBSETS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db}
spec:
  host: db.local
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

#[tokio::test(flavor = "multi_thread")]
async fn tcp_connections_go_where_rules_say_and_those_of_others_stay() {
    let (v1, v2, other) =
        (Backend::echo("v1").await, Backend::echo("v2").await, Backend::echo("other").await);
    let metadata = json!({ "LABELS": { "tier": "batch" } });
    let Some(shop) = Shop::open_to(&[("subsets.yaml", SUBSETS)], metadata).await else { return };
    let versions = [v1.place().label("version", "v1"), v2.place().label("version", "v2")];
    let services =
        [service("db.local", 5000, "tcp", &versions), service("other.local", 5001, "tcp", &[other.place()])];
    let known = std::fs::read_to_string(shop.pilot.services()).unwrap();
    shop.pilot.write_services(&(known + &services.concat()));
    let (db, bystander) = (shop.envoy.port(5000), shop.envoy.port(5001));
    until("both services answer", async || {
        Line::open(db, b"").await?;
        Line::open(bystander, b"").await.map(drop)
    })
    .await;
    let mut stays = Line::open(bystander, b"").await.unwrap();
    let all_go_to = async |names: &[&str]| {
        until(&format!("connections go to {names:?}, and nowhere else"), async || {
            let mut seen = std::collections::BTreeSet::new();
            for _ in 0..40 {
                seen.insert(Line::open(db, b"").await?.by);
            }
            holds(seen.iter().eq(names), format!("{seen:?}"))
        })
        .await;
    };
    let to = |subset: &str| format!("  - route: [{{destination: {{host: db.local, subset: {subset}}}}}]\n");
    shop.write("db.yaml", &tcp_routes(&to("v1")));
    all_go_to(&["v1"]).await;
    shop.write("db.yaml", &tcp_routes(&to("v2")));
    all_go_to(&["v2"]).await;
    let weighted = "  - route:\n    - {destination: {host: db.local, subset: v1}, weight: 50}\n    - {destination: {host: other.local}, \
                    weight: 50}\n    - {destination: {host: db.local, subset: v2}}\n";
    shop.write("db.yaml", &tcp_routes(weighted));
    all_go_to(&["other", "v1"]).await;
    let explained = shop.pilot.explained("http://db.local:5000", &[]).await;
    let shares: Vec<_> =
        explained.destinations.iter().map(|it| (it.cluster.as_str(), it.share.as_deref())).collect();
    let half = Some("50 % of connections");
    assert_eq!(shares, [("outbound|5000|v1|db.local", half), ("outbound|5001||other.local", half)]);
    // The first rule that is for this proxy, port and address.
    let first = |condition: &str| {
        let rule = format!("  - match: [{condition}]\n    route: [{{destination: {{host: other.local}}}}]\n");
        tcp_routes(&(rule + &to("v2")))
    };
    for (condition, by) in [
        ("{sourceLabels: {tier: batch}}", "other"),
        ("{sourceLabels: {tier: web}}", "v2"),
        ("{port: 5000, destinationSubnets: [127.0.0.0/8]}", "other"),
        ("{port: 5001}", "v2"),
        ("{destinationSubnets: [10.0.0.0/8, 127.0.0.0/8]}", "other"),
        ("{destinationSubnets: [10.0.0.0/8]}", "v2"),
    ] {
        shop.write("db.yaml", &first(condition));
        all_go_to(&[by]).await;
    }
    shop.remove("db.yaml");
    all_go_to(&["v1", "v2"]).await;
    assert!(stays.is_alive().await, "a connection to another service");
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_services_share_a_port_by_the_names_that_clients_ask_for() {
    let [a, b, c] = ["a", "b", "c"].map(Backend::echo);
    let (a, b, c) = tokio::join!(a, b, c);
    let Some(shop) = Shop::open(&[]).await else { return };
    let of = |host: &str, backend: &Backend| service(host, 5443, "tls", &[backend.place()]);
    let known = std::fs::read_to_string(shop.pilot.services()).unwrap();
    let services = |all: &[String]| shop.pilot.write_services(&(known.clone() + &all.concat()));
    let at = shop.envoy.port(5443);
    let asked = async |name: Option<&str>| Line::open(at, &hello(name)).await.map(|line| line.by);
    let answers = async |name: Option<&str>, by: &str| {
        until(&format!("{by} answers {name:?}"), async || {
            let answer = asked(name).await?;
            holds(answer == by, answer)
        })
        .await;
    };
    services(&[of("b.local", &b)]);
    // The only one has all.
    answers(None, "b").await;
    answers(Some("b.local"), "b").await;
    answers(Some("elsewhere.example"), "b").await;
    let mut stays = Line::open(at, &hello(Some("b.local"))).await.unwrap();
    let mut nameless = Line::open(at, &hello(None)).await.unwrap();
    services(&[of("b.local", &b), of("c.local", &c)]);
    answers(Some("c.local"), "c").await;
    // Who had all names has those that nobody has, and loses no connection.
    for name in [Some("b.local"), Some("elsewhere.example"), None] {
        assert_eq!(asked(name).await.unwrap(), "b", "{name:?}");
    }
    services(&[of("a.local", &a), of("b.local", &b), of("c.local", &c)]);
    answers(Some("a.local"), "a").await;
    for (name, by) in [("b.local", "b"), ("c.local", "c")] {
        assert_eq!(asked(Some(name)).await.unwrap(), by);
    }
    assert!(stays.is_alive().await, "a connection by a name that stays");
    assert!(nameless.is_alive().await, "a connection without a name");
    // Rules say more of names.
    shop.write(
        "c.yaml",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: c}\nspec:\n  hosts: [c.local, \"*.c.local\"]\n  \
         tls:\n  - match: [{sniHosts: [x.c.local]}]\n    route: [{destination: {host: a.local}}]\n  - match: [{sniHosts: [c.local, \
         \"*.c.local\"]}]\n    route: [{destination: {host: c.local}}]\n",
    );
    answers(Some("x.c.local"), "a").await;
    answers(Some("y.z.c.local"), "c").await;
    let nowhere = shop.pilot.explained("https://cart.local", &[]).await;
    assert!(nowhere.outcome[0].contains("no listener at port 443"), "{nowhere:?}");
    for (url, cluster) in [
        ("https://c.local:5443", "outbound|5443||c.local"),
        ("https://b.local:5443", "outbound|5443||b.local"),
    ] {
        let explained = shop.pilot.explained(url, &[]).await;
        let clusters: Vec<_> = explained.destinations.iter().map(|it| it.cluster.as_str()).collect();
        assert_eq!(clusters, [cluster], "{explained:?}");
    }
    for (name, by) in [("a.local", "a"), ("b.local", "b"), ("c.local", "c")] {
        assert_eq!(asked(Some(name)).await.unwrap(), by);
    }
    services(&[of("b.local", &b)]);
    answers(Some("c.local"), "b").await;
    assert!(stays.is_alive().await, "a connection by a name that stays");
    shop.envoy.assert_no_rejections().await;
}
