//! Services, a store of rules, and an Envoy that is an ingress.

use std::fs;
use std::net::SocketAddr;

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http::{Answer, Connection};
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::envoy;
use crate::support::wait::until;

/// The ports of its Gateways.
pub(super) const HTTP: u16 = 8080;

/// The node id of the Envoy.
pub(super) const EDGE: &str = "ingress~127.0.0.1~edge~default.mesh";

/// Two services, a folder of rules, and an Envoy at the edge.
pub(super) struct Edge {
    pub(super) pilot: Pilot,
    pub(super) envoy: Envoy,
    _backends: [Backend; 3],
}

impl Edge {
    /// `None` = there is no Envoy on this machine. In rules, `ADDRESS` is that of the Envoy.
    pub(super) async fn open(rules: &[(&str, &str)]) -> Option<Self> {
        Self::open_as(Kind::Delta, rules).await
    }

    /// The same, with an Envoy of that kind.
    pub(super) async fn open_as(kind: Kind, rules: &[(&str, &str)]) -> Option<Self> {
        let binary = envoy()?;
        let backends =
            [Backend::http("shop").await, Backend::http("blog").await, Backend::echo("echo").await];
        let services = [
            service("shop.mesh", 80, "http", &[backends[0].place()]),
            service("blog.mesh", 80, "http", &[backends[1].place()]),
            service("echo.mesh", 9000, "tcp", &[backends[2].place()]),
            // The Envoy itself, behind its own TLS.
            service("secure.mesh", 443, "tls", &[Place::at("ADDRESS:8443")]),
        ];
        let mut pilot = Pilot::prepare_with(
            "[registry.local.file]\npath = \"services.toml\"\n[guard]\nhold = \"3s\"\n[rules.local.file]\npath = \"rules\"\n",
        );
        pilot.write_services(&services.concat().replace("ADDRESS", &pilot.address().to_string()));
        fs::create_dir(pilot.folder().join("rules")).unwrap();
        for (name, text) in rules {
            write(&pilot, name, text);
        }
        pilot.spawn();
        pilot.ready().await;
        let id = ["--node-id", EDGE, "--label", "istio=ingress"];
        let envoy = Envoy::start_with(&binary, &pilot, kind, &id).await;
        Some(Self { pilot, envoy, _backends: backends })
    }

    /// Writes a file of rules.
    pub(super) fn write(&self, name: &str, text: &str) {
        write(&self.pilot, name, text);
    }

    pub(super) fn at(&self, port: u16) -> SocketAddr {
        self.envoy.port(port)
    }

    /// Asks for a path of a host, at the port without TLS.
    pub(super) async fn get(&self, host: &str, path: &str) -> Result<Answer, String> {
        Connection::open(self.at(HTTP)).await?.get(host, path).await
    }

    /// Waits until a request is answered so.
    pub(super) async fn answers(&self, host: &str, path: &str, status: u16, body: &str) -> Answer {
        until(&format!("{host}{path} is answered {status} {body}"), async || {
            let answer = self.get(host, path).await?;
            let is_so = answer.status == status && (body.is_empty() || answer.body == body);
            if is_so { Ok(answer) } else { Err(format!("{answer:?}")) }
        })
        .await
    }

    /// What `pilot rules` says of a document: its state, and everything else.
    pub(super) async fn state(&self, name: &str) -> (String, String) {
        let report = self.pilot.debug("/debug/rules").await.unwrap();
        let documents = report["documents"].as_array().unwrap();
        let document = documents.iter().find(|it| it["document"] == name).unwrap();
        (document["state"].as_str().unwrap().to_owned(), document.to_string())
    }
}

fn write(pilot: &Pilot, name: &str, text: &str) {
    let folder = pilot.folder().join("rules");
    let text = text.replace("ADDRESS", &pilot.address().to_string());
    fs::write(folder.join(".new"), text).unwrap();
    fs::rename(folder.join(".new"), folder.join(name)).unwrap();
}

/// A Gateway of that name, with these servers.
pub(super) fn gateway(name: &str, servers: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec:\n  selector: {{istio: \
         ingress}}\n  servers:\n{servers}---\n"
    )
}

/// A server of HTTP with these hosts.
pub(super) fn http_server(hosts: &str) -> String {
    format!("  - {{port: {{number: {HTTP}, name: http, protocol: HTTP}}, bind: ADDRESS, hosts: [{hosts}]}}\n")
}

/// A VirtualService of that name and host at the gateway edge, with these rules.
pub(super) fn bound(name: &str, host: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  hosts: \
         ['{host}']\n  gateways: [edge]\n  http:\n{http}---\n"
    )
}

/// A rule that sends all requests there.
pub(super) fn all_to(host: &str) -> String {
    format!("  - route: [{{destination: {{host: {host}}}}}]\n")
}
