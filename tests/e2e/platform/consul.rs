//! A real Consul agent, which pilot reaches with a token.

use std::net::SocketAddr;

use pilot_registry_testkit::server::Relay;
use pilot_registry_testkit::server::consul::{self, Options};
use serde_json::{Value, json};

use super::Platform;

/// The secret of pilot's token.
const TOKEN: &str = "b4b1c2c1-2f5c-4f4e-8f7a-0d7c8b1f9e21";

/// What the token may do.
const RULES: &str = "service_prefix \"\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }";

/// A Consul agent, a relay in front of it, and a token for pilot.
pub(in super::super) struct Consul {
    server: consul::Consul,
    relays: [Relay; 1],
    /// How many seconds pilot lets an answer wait for a change; Consul does not tell earlier that the token
    /// may read less, or is gone.
    wait: Option<u32>,
}

impl Consul {
    /// Registers an HTTP instance that Consul itself looks after.
    pub(in super::super) async fn put_checked(&self, service: &str, id: &str, at: SocketAddr) {
        let url = format!("http://{at}/");
        self.register(service, id, at, json!({ "HTTP": url, "Interval": "500ms", "Timeout": "1s" })).await;
    }

    /// Registers an HTTP instance with a tag, and does not say which port clients call.
    pub(in super::super) async fn put_tagged(&self, service: &str, id: &str, at: SocketAddr, tag: &str) {
        let entry = json!({
            "ID": format!("{service}-{id}"), "Name": service, "Tags": ["http", tag],
            "Address": at.ip(), "Port": at.port(),
            "Check": { "CheckID": format!("{service}-{id}"), "TTL": "1h", "Status": "passing" },
        });
        self.write("/v1/agent/service/register", entry).await;
    }

    /// Registers an instance with that meta.
    pub(in super::super) async fn put_described(&self, service: &str, at: SocketAddr, meta: Value) {
        let entry = json!({ "Name": service, "Meta": meta, "Address": at.ip(), "Port": at.port() });
        self.write("/v1/agent/service/register", entry).await;
    }

    /// The same, asked anew every two seconds.
    pub(in super::super) async fn start_impatient() -> Option<Self> {
        Some(Self { wait: Some(2), ..Self::start().await? })
    }

    /// Leaves pilot its token, and takes from that what it may do, or gives it back. Consul then answers as if
    /// it had nothing.
    pub(in super::super) async fn set_readable(&mut self, readable: bool) {
        let policies = self.server.admin().get("/v1/acl/policies").await.unwrap();
        let own = policies.as_array().unwrap().iter().find(|it| it["Name"] == "pilot").unwrap();
        let id = own["ID"].as_str().unwrap();
        let rules = if readable { RULES } else { "" };
        self.write(&format!("/v1/acl/policy/{id}"), json!({ "ID": id, "Name": "pilot", "Rules": rules }))
            .await;
    }

    /// Takes an instance into maintenance, or out of it.
    pub(in super::super) async fn set_maintenance(&self, service: &str, id: &str, enable: bool) {
        let path = format!("/v1/agent/service/maintenance/{service}-{id}?enable={enable}");
        self.write(&path, Value::Null).await;
    }

    async fn register(&self, service: &str, id: &str, at: SocketAddr, check: Value) {
        let entry = json!({
            "ID": format!("{service}-{id}"), "Name": service, "Meta": { "protocol": "http" },
            "Address": at.ip(), "Port": at.port(), "Check": check,
        });
        self.write("/v1/agent/service/register", entry).await;
    }

    async fn write(&self, path: &str, body: Value) {
        self.server.admin().put(path, &body).await.unwrap();
    }
}

impl Platform for Consul {
    async fn start() -> Option<Self> {
        let server = consul::Consul::start(Options { acl: true, ..Options::default() }).await.unwrap()?;
        let relays = [Relay::to(server.address()).await.unwrap()];
        let mut consul = Self { server, relays, wait: None };
        consul.write("/v1/acl/policy", json!({ "Name": "pilot", "Rules": RULES })).await;
        consul.restore().await;
        Some(consul)
    }

    fn tables(&self, name: &str) -> String {
        let address = self.relays[0].address();
        let wait =
            self.wait.map(|wait| format!("limits = {{ wait_seconds = {wait} }}\n")).unwrap_or_default();
        format!("[registry.{name}.consul]\naddress = \"http://{address}\"\ntoken = \"{TOKEN}\"\n{wait}")
    }

    fn host(service: &str) -> String {
        format!("{service}.service.consul")
    }

    async fn put(&self, service: &str, id: &str, at: SocketAddr) {
        let check = json!({ "CheckID": format!("{service}-{id}"), "TTL": "1h", "Status": "passing" });
        self.register(service, id, at, check).await;
        // Only what a check was told, not what it began with, outlives a restart.
        self.set_healthy(service, id, at, true).await;
    }

    async fn set_healthy(&self, service: &str, id: &str, _at: SocketAddr, healthy: bool) {
        let status = if healthy { "passing" } else { "critical" };
        self.write(&format!("/v1/agent/check/update/{service}-{id}"), json!({ "Status": status })).await;
    }

    async fn remove(&self, service: &str, id: &str) {
        self.write(&format!("/v1/agent/service/deregister/{service}-{id}"), Value::Null).await;
    }

    fn kill(&mut self) {
        self.server.kill();
    }

    async fn restart(&mut self) {
        self.server.restart().await.unwrap();
    }

    fn relays(&self) -> &[Relay] {
        &self.relays
    }

    async fn revoke(&mut self) {
        let tokens = self.server.admin().get("/v1/acl/tokens").await.unwrap();
        let own = tokens.as_array().unwrap().iter().find(|it| it["Description"] == "pilot").unwrap();
        let path = format!("/v1/acl/token/{}", own["AccessorID"].as_str().unwrap());
        let (status, _) =
            self.server.admin().request(http::Method::DELETE, &path, [].as_slice().into()).await.unwrap();
        assert_eq!(status, 200);
    }

    async fn restore(&mut self) {
        let token = json!({ "Description": "pilot", "SecretID": TOKEN, "Policies": [{ "Name": "pilot" }] });
        self.write("/v1/acl/token", token).await;
    }
}
