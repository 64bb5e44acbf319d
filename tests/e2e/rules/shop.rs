//! Services, a store of rules and an Envoy, and what documents look like.

use std::fs;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::envoy::{Envoy, Kind};
use crate::support::http::{Answer, Connection};
use crate::support::pilot::Pilot;
use crate::support::services::{Place, service};
use crate::support::tools::envoy;
use crate::support::wait::until;

/// Two services, one of them in two versions, a folder of rules, and an Envoy.
pub(super) struct Shop {
    pub(super) v1: Backend,
    pub(super) v2: Backend,
    pub(super) pilot: Pilot,
    pub(super) envoy: Envoy,
    _silent: std::net::TcpListener,
}

impl Shop {
    /// `None` = there is no Envoy on this machine.
    pub(super) async fn open(rules: &[(&str, &str)]) -> Option<Self> {
        Self::open_to(rules, json!({})).await
    }

    /// The same, with an Envoy that says this of itself.
    pub(super) async fn open_to(rules: &[(&str, &str)], metadata: Value) -> Option<Self> {
        Self::open_with("[rules.local.file]\npath = \"rules\"\n", rules, metadata).await
    }

    /// The same, with these tables of stores.
    pub(super) async fn open_with(stores: &str, rules: &[(&str, &str)], metadata: Value) -> Option<Self> {
        Self::open_as(Kind::Delta, stores, rules, metadata).await
    }

    /// The same, with an Envoy of that kind.
    pub(super) async fn open_as(
        kind: Kind,
        stores: &str,
        rules: &[(&str, &str)],
        metadata: Value,
    ) -> Option<Self> {
        let binary = envoy()?;
        let (v1, v2) = (Backend::http("v1").await, Backend::http("v2").await);
        let (stock, queue) = (Backend::http("stock").await, Backend::echo("queue").await);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let versions = [v1.place().label("version", "v1"), v2.place().label("version", "v2")];
        let services = [
            service("cart.local", 8080, "http", &versions),
            service("stock.local", 8080, "http", &[stock.place()]),
            service("queue.local", 9090, "tcp", &[queue.place()]),
            // It accepts connections, and answers nothing.
            service("silent.local", 8080, "http", &[Place::at(&silent.local_addr().unwrap().to_string())]),
        ];
        let services_file = "[registry.local.file]\npath = \"services.toml\"\n[guard]\nhold = \"3s\"\n";
        let mut pilot = Pilot::prepare_with(&format!("{services_file}{stores}"));
        pilot.write_services(&services.concat());
        fs::create_dir(pilot.folder().join("rules")).unwrap();
        for (name, text) in rules {
            write(&pilot, name, text);
        }
        pilot.spawn();
        pilot.ready().await;
        let envoy = Envoy::start_saying(&binary, &pilot, kind, metadata).await;
        // They are there as long as the process: nothing asks them by itself.
        std::mem::forget((stock, queue));
        Some(Self { v1, v2, pilot, envoy, _silent: silent })
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        write(&self.pilot, name, text);
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.pilot.folder().join("rules").join(name)).unwrap();
    }

    pub(super) fn remove_if_there(&self, name: &str) {
        if self.pilot.folder().join("rules").join(name).exists() {
            self.remove(name);
        }
    }

    pub(super) async fn ask(&self, request: http::request::Builder) -> Result<Answer, String> {
        Connection::open(self.envoy.http_address()).await?.send(request).await
    }

    /// Waits until what comes back of this request is so.
    pub(super) async fn until(
        &self,
        what: &str,
        request: &Asked<'_>,
        is_so: impl Fn(&Answer) -> bool,
    ) -> Answer {
        until(what, async || {
            let answer = self.ask(request.builder()).await?;
            match is_so(&answer) {
                true => Ok(answer),
                false => Err(format!("{answer:?}")),
            }
        })
        .await
    }

    /// Waits until this request is answered so, by that backend.
    pub(super) async fn answers(&self, request: &Asked<'_>, status: u16, body: &str) -> Answer {
        let what = format!("{request:?} is answered {status} by {body}");
        self.until(&what, request, |answer| answer.status == status && answer.body == body).await
    }
}

/// Written beside it first: nobody sees half a file.
fn write(pilot: &Pilot, name: &str, text: &str) {
    let folder = pilot.folder().join("rules");
    fs::write(folder.join(".new"), text).unwrap();
    fs::rename(folder.join(".new"), folder.join(name)).unwrap();
}

/// A request.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) host: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
}

impl Asked<'_> {
    pub(super) fn builder(&self) -> http::request::Builder {
        let request = http::Request::get(self.path).header("host", self.host);
        self.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }
}

pub(super) fn cart(path: &str) -> Asked<'_> {
    Asked { host: "cart.local", path, headers: &[] }
}

pub(super) fn virtual_service(name: &str, hosts: &str, http: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec:\n  hosts: \
         [{hosts}]\n  http:\n{http}"
    )
}

pub(super) const SUBSETS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart.local
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

pub(super) const TO_V1: &str = "  - route: [{destination: {host: cart.local, subset: v1}}]\n";
