//! What an Envoy writes of requests and connections.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::shop::{SUBSETS, Shop, cart, virtual_service};
use crate::support::wait::{holds, until};

/// A shop whose Envoy writes into a file, and the file.
async fn open(format: &str) -> Option<(Shop, TempDir)> {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("access.log");
    let stores = format!(
        "[rules.local.file]\npath = \"rules\"\n[mesh.access_log]\npath = \"{}\"\nformat = \"{format}\"\n",
        log.display()
    );
    let http = "  - name: exact\n    match: [{name: stock, uri: {exact: /stock}}]\n    route: [{destination: {host: stock.local}}]\n  - \
                match: [{uri: {prefix: /gone}}]\n    route: [{destination: {host: gone.local}}]\n  - route: [{destination: {host: \
                cart.local, subset: v1}}]\n";
    let document = virtual_service("cart", "cart.local", http);
    let rules = [("cart.yaml", document.as_str()), ("subsets.yaml", SUBSETS)];
    let shop = Shop::open_with(&stores, &rules, serde_json::json!({})).await?;
    Some((shop, folder))
}

async fn line(log: &std::path::Path, has: &str) -> String {
    until(&format!("a line has {has}"), async || {
        let text = fs::read_to_string(log).map_err(|error| error.to_string())?;
        text.lines().find(|line| line.contains(has)).map(str::to_owned).ok_or(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_written_with_the_rule_that_decided_it() {
    let Some((shop, folder)) = open("json").await else { return };
    let log = folder.path().join("access.log");
    shop.answers(&cart("/stock"), 200, "stock").await;
    shop.answers(&cart("/x?q=1"), 200, "v1").await;
    shop.until("nobody is there", &cart("/gone"), |answer| answer.status == 503).await;
    let object = async |has: &str| serde_json::from_str::<Value>(&line(&log, has).await).unwrap();
    let stock = object("\"path\":\"/stock\"").await;
    assert_eq!(stock["route"], "VirtualService/default/cart http[0] exact.stock", "{stock}");
    assert_eq!((&stock["status"], &stock["host"]), (&200.into(), &"cart.local".into()), "{stock}");
    assert_eq!(stock["cluster"], "outbound|8080||stock.local", "{stock}");
    let other = object("\"path\":\"/x?q=1\"").await;
    assert_eq!(other["route"], "VirtualService/default/cart http[2]", "{other}");
    let gone = object("\"path\":\"/gone\"").await;
    assert_eq!((&gone["status"], &gone["flags"]), (&503.into(), &"NC".into()), "{gone}");
    // A connection is written when it ends.
    let mut stream = TcpStream::connect(shop.envoy.port(9090)).await.unwrap();
    let mut greeting = [0; 6];
    stream.read_exact(&mut greeting).await.unwrap();
    drop(stream);
    let queue = object("queue.local").await;
    assert_eq!(
        (&queue["cluster"], &queue["bytes_sent"]),
        (&"outbound|9090||queue.local".into(), &6.into()),
        "{queue}"
    );
    shop.envoy.assert_no_rejections().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_for_people_say_the_same() {
    let Some((shop, folder)) = open("text").await else { return };
    let log = folder.path().join("access.log");
    shop.answers(&cart("/stock"), 200, "stock").await;
    let said = line(&log, "/stock").await;
    for has in
        ["\"GET /stock HTTP/1.1\"", "status=200", "route=\"VirtualService/default/cart http[0] exact.stock\""]
    {
        assert!(said.contains(has), "{has}: {said}");
    }
    until("the line says that it is whole", async || {
        holds(fs::read_to_string(&log).is_ok_and(|text| text.ends_with('\n')), "no")
    })
    .await;
    shop.envoy.assert_no_rejections().await;
}
