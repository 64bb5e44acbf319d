//! docs/troubleshooting.md quotes Envoy: what it says there is what a real Envoy says in that case.

use std::net::SocketAddr;

use crate::pages::read;
use crate::support::shell::Shell;
use crate::support::wait::{holds, until};
use crate::support::{http, tools};

/// A service for each case: its host, what is wrong with it, the status and the words.
const CASES: [(&str, &str, u16, &str); 3] = [
    ("none.localhost", "", 503, "no healthy upstream"),
    ("dead.localhost", "{ address = \"127.0.0.1:8002\" }", 503, "remote connection failure"),
    ("wrong.localhost", "{ address = \"127.0.0.1:8003\" }", 502, "protocol error"),
];

#[tokio::test]
async fn errors_are_what_envoy_says() {
    let Some(envoy) = tools::envoy() else { return };
    let page = read("docs/troubleshooting.md");
    let mut shell = Shell::new();
    shell.envoy(&envoy);
    shell.write("pilot.toml", "registry.local.file.path = 'services.toml'");
    let service = |(host, endpoints, ..): &(&str, &str, u16, &str)| {
        let protocol = if *host == "wrong.localhost" { "http2" } else { "http" };
        format!(
            "[[service]]\nhost = \"{host}\"\nports = [{{ port = 8000, protocol = \"{protocol}\" }}]\n\
             endpoints = [{endpoints}]\n"
        )
    };
    shell.write_moved("services.toml", &CASES.iter().map(service).collect::<String>());
    shell.spawn("python3 -m http.server 8003 --bind 127.0.0.1 &");
    shell.spawn("pilot serve");
    shell.succeeds("pilot bootstrap > envoy.yaml");
    shell.spawn("envoy -c envoy.yaml");
    let door = SocketAddr::from((shell.address(), 15080));
    for (host, _, status, words) in CASES {
        until(host, async || {
            let answer = http::get(door, host, "/").await?;
            let as_said = answer.status.as_u16() == status && answer.body.contains(words);
            holds(as_said, format!("{} {:?}", answer.status, answer.body))
        })
        .await;
        let section = page.split(&format!("## {status}\n")).nth(1).unwrap().split("\n## ").next().unwrap();
        assert!(section.contains(words), "the section {status} does not quote {words:?}");
    }
    // The page has letters where a name and a number stand.
    for (host, words) in
        [("nobody.localhost", "no service has host"), ("localhost", "say which in the Host header")]
    {
        let answer = http::get(door, host, "/").await.unwrap();
        assert!(answer.status.as_u16() == 404 && answer.body.contains(words), "{answer:?}");
        let section = page.split("## 404\n").nth(1).unwrap().split("\n## ").next().unwrap();
        assert!(section.contains(words), "the section 404 does not quote {words:?}");
    }
}
