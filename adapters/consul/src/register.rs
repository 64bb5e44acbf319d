//! Registering instances with the agent of their machine.
//!
//! ```text
//!  Registration ── instance ──► agent/service/register        (with two TTL checks)
//!  condition    ───────────────► agent/check/update, agent/service/maintenance
//! ```
//!
//! The agent takes an instance whose check has not been updated for the ttl for critical, and removes it
//! after one more minute: Consul removes nothing sooner. Instances belong to the agent that they were
//! registered with, and are removed there.

mod instance;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use pilot_registry::{ConfigError, ErrorKind, Health, Registrar, Registration, RegistryError, async_trait};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::Config;
use crate::client::{Call, Client, encoded};
use instance::{Instance, service_id};

/// The way to register instances. Made by [`crate::registrar`].
#[derive(Clone, Debug)]
pub struct ConsulRegistrar {
    config: Config,
}

impl ConsulRegistrar {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }

    /// The name in Consul of what the user calls that.
    fn service<'a>(&self, service: &'a str) -> Result<&'a str, ConfigError> {
        let template = &self.config.host;
        let plain = || Some(service).filter(|name| !name.is_empty() && !name.contains('.'));
        template.service(service).or_else(plain).ok_or_else(|| {
            let why =
                format!("{service:?} is no service of consul: expected its name, or a host like {template}");
            ConfigError::new("service", why)
        })
    }

    fn instance(&self, registration: &Registration) -> Result<Instance, ConfigError> {
        Instance::new(self.service(&registration.service)?, registration, &self.config)
    }

    async fn agent(&self) -> Result<Agent, RegistryError> {
        Ok(Agent { client: Client::open(&self.config).await? })
    }
}

/// Tells the maintenance that is ours from an operator's.
const REASON: &str = "draining, says pilot register";

/// What is said to the agent.
struct Agent {
    client: Client,
}

impl Agent {
    async fn put(
        &self,
        path: &str,
        parameters: &str,
        body: Option<&Value>,
    ) -> Result<StatusCode, RegistryError> {
        let place = self.client.place();
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let call = Call { method: Method::PUT, path: format!("{path}?{parameters}{place}"), body };
        let (status, said) = self.client.call(&call).await?;
        self.client.succeeded(&call, status, &said).map(|()| status)
    }

    /// Replacing the checks that are there would end a maintenance, too.
    async fn register(&self, id: &str, body: &Value) -> Result<(), RegistryError> {
        let replace = !self.maintained_by_others(id).await?;
        let checks = format!("replace-existing-checks={replace}");
        self.put("/v1/agent/service/register", &checks, Some(body)).await.map(drop)
    }

    /// Begins or ends the maintenance that is ours. An operator's stays.
    async fn maintain(&self, id: &str, enabled: bool) -> Result<(), RegistryError> {
        if !enabled && self.maintained_by_others(id).await? {
            return Ok(());
        }
        let path = format!("/v1/agent/service/maintenance/{}", encoded(id));
        self.put(&path, &format!("enable={enabled}&reason={}", encoded(REASON)), None).await.map(drop)
    }

    async fn maintained_by_others(&self, id: &str) -> Result<bool, RegistryError> {
        let path = format!("/v1/agent/checks?{}", self.client.place());
        let call = Call { method: Method::GET, path, body: Bytes::new() };
        let (status, body) = self.client.call(&call).await?;
        self.client.succeeded(&call, status, &body)?;
        let checks: Value = serde_json::from_slice(&body).map_err(|error| {
            RegistryError::malformed("/v1/agent/checks: expected checks by their ids").caused_by(error)
        })?;
        let maintenance = &checks[format!("_service_maintenance:{id}")];
        Ok(maintenance.is_object() && maintenance["Notes"] != REASON)
    }

    /// Says that the instance is kept, and how it is; soon enough for both to be taken within the ttl.
    async fn update(&self, instance: &Instance, now: Health, ttl: Duration) -> Result<(), RegistryError> {
        let updates = async {
            self.update_check(&instance.heartbeat, "passing", now).await?;
            self.update_check(&instance.health, status(now), now).await
        };
        let late = |_| {
            let id = &instance.id;
            RegistryError::unavailable(format!(
                "consul has not taken an update of {id:?} in a third of its ttl"
            ))
        };
        timeout(ttl / 3, updates).await.map_err(late)?
    }

    async fn update_check(&self, check: &str, status: &str, now: Health) -> Result<(), RegistryError> {
        let path = format!("/v1/agent/check/update/{}", encoded(check));
        let body = json!({ "Status": status, "Output": format!("{now:?}").to_lowercase() });
        self.put(&path, "", Some(&body)).await.map(drop)
    }

    async fn has(&self, id: &str) -> Result<bool, RegistryError> {
        let path = format!("/v1/agent/service/{}?{}", encoded(id), self.client.place());
        let call = Call { method: Method::GET, path, body: Bytes::new() };
        let (status, body) = self.client.call(&call).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(false);
        }
        self.client.succeeded(&call, status, &body).map(|()| true)
    }

    async fn deregister(&self, id: &str) -> Result<(), RegistryError> {
        let path = format!("/v1/agent/service/deregister/{}", encoded(id));
        self.put(&path, "", None).await.map(drop)
    }
}

/// The state of a check under that condition.
fn status(condition: Health) -> &'static str {
    match condition {
        Health::Healthy | Health::Unknown => "passing",
        Health::Warning => "warning",
        Health::Unhealthy | Health::Draining => "critical",
    }
}

fn refused(error: ConfigError) -> RegistryError {
    RegistryError::malformed("what is to be registered has no place in consul").caused_by(error)
}

#[async_trait]
impl Registrar for ConsulRegistrar {
    fn check(&self, registration: &Registration) -> Result<(), ConfigError> {
        self.instance(registration).map(drop)
    }

    async fn keep(
        &self,
        registration: &Registration,
        mut condition: watch::Receiver<Health>,
        written: &watch::Sender<Option<Health>>,
    ) -> Result<Infallible, RegistryError> {
        let instance = self.instance(registration).map_err(refused)?;
        let agent = self.agent().await?;
        let mut now = *condition.borrow_and_update();
        agent.register(&instance.id, &instance.with_checks(registration.ttl, status(now))).await?;
        // An instance of that id may have been left draining.
        agent.maintain(&instance.id, now == Health::Draining).await?;
        written.send_replace(Some(now));
        loop {
            wait(&mut condition, registration.ttl / 3).await;
            let before = std::mem::replace(&mut now, *condition.borrow_and_update());
            // An agent that has been started anew may know nothing of the check: that ends the attempt.
            agent.update(&instance, now, registration.ttl).await?;
            if (before == Health::Draining) != (now == Health::Draining) {
                agent.maintain(&instance.id, now == Health::Draining).await?;
            }
            written.send_replace(Some(now));
        }
    }

    async fn write(&self, registration: &Registration, condition: Health) -> Result<(), RegistryError> {
        let instance = self.instance(registration).map_err(refused)?;
        let agent = self.agent().await?;
        agent.register(&instance.id, &instance.body).await?;
        // Without a check there is no other way to say that it takes no traffic.
        agent.maintain(&instance.id, status(condition) == "critical").await
    }

    /// An agent tells the servers with the instance's own token that its check has failed.
    fn left_behind(&self, registration: &Registration, error: Option<&RegistryError>) -> String {
        let ttl = registration.ttl;
        if error.is_some_and(|error| error.kind() == ErrorKind::Denied) {
            let id = self.service(&registration.service).map(|service| service_id(service, &registration.id));
            let id = id.unwrap_or_else(|_| registration.id.clone());
            return format!(
                "Consul gives it up after {ttl:?} only if its token may still write: otherwise it stays as it is, \
                 until somebody who may runs `consul services deregister -id {id}`"
            );
        }
        let removed = instance::removed_after(ttl);
        format!("in Consul it is critical after {ttl:?}, and removed {removed:?} later")
    }

    async fn remove(&self, service: &str, id: &str) -> Result<bool, RegistryError> {
        let id = service_id(self.service(service).map_err(refused)?, id);
        let agent = self.agent().await?;
        let there = agent.has(&id).await?;
        if there {
            agent.deregister(&id).await?;
        }
        Ok(there)
    }
}

/// Until the condition changes, but no longer than that. Who gives no condition any more has given the last.
async fn wait(condition: &mut watch::Receiver<Health>, longest: Duration) {
    let changed = async {
        if condition.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    _ = timeout(longest, changed).await;
}
