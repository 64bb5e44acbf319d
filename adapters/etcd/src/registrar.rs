//! The writing side: an instance under a lease, so that a crash takes away exactly that instance.
//!
//! The lease also says who owns the key. A process that registers an id takes the key over. The process that
//! lost it waits until the key is free, and does not delete it when it ends.

mod lease;
mod leases;

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use pilot_registry::{ConfigError, Health, Hostname, Registrar, Registration, RegistryError};
use tokio::sync::watch;
use tokio::time::Duration;

use crate::Config;
use crate::connection::Connection;
use crate::document::Instance;
use crate::keys::Keys;
use lease::Lease;
use leases::Leases;

/// Registers instances in etcd. Made by [`crate::registrar`].
#[derive(Debug)]
pub struct EtcdRegistrar {
    config: Config,
    keys: Keys,
    turn: AtomicUsize,
    /// Those under which this registrar may have written.
    leases: Leases,
}

impl EtcdRegistrar {
    pub(crate) fn new(config: Config) -> Self {
        let keys = Keys::new(&config.prefix);
        Self { config, keys, turn: AtomicUsize::new(0), leases: Leases::default() }
    }

    async fn connect(&self) -> Result<Connection, RegistryError> {
        Connection::open(&self.config, &self.keys, &self.turn).await
    }

    fn key(&self, service: &str, id: &str) -> Result<String, ConfigError> {
        let host: Hostname = service
            .parse()
            .map_err(|error: pilot_registry::ModelError| ConfigError::new("service", error.to_string()))?;
        if id.is_empty() || id.contains('/') {
            let reason = format!("{id:?} cannot be part of a key: expected a text without '/'");
            return Err(ConfigError::new("id", reason));
        }
        Ok(self.keys.instance(&host, id))
    }

    /// Writes the instance under a lease. The first time it is taken from whoever has it; after that only
    /// from ourselves.
    async fn put(
        &self,
        connection: &Connection,
        registration: &Registration,
        health: Health,
        lease: i64,
    ) -> Result<(), RegistryError> {
        const DOING: &str = "registering in etcd";
        let key = self.key(&registration.service, &registration.id).map_err(refused)?;
        let put = TxnOp::put(key.as_str(), value(registration, health), Some(under(lease)));
        let mut condition = Vec::new();
        if self.leases.has_written(&key) {
            let found = Found::at(connection, &key).await?;
            if found.lease.is_some_and(|holder| !self.leases.contains(&key, holder)) {
                return Err(taken(connection, &key));
            }
            condition.push(Compare::mod_revision(key.as_str(), CompareOp::Equal, found.revision));
        }
        let write = Txn::new().when(condition).and_then([put]);
        if !connection.answer(DOING, connection.kv().txn(write)).await?.succeeded() {
            return Err(taken(connection, &key));
        }
        self.leases.written(&key, lease);
        Ok(())
    }

    /// Keeps the lease alive, and sees that the key is under it, until the condition changes.
    async fn hold(
        lease: &mut Lease<'_>,
        key: &str,
        condition: &mut watch::Receiver<Health>,
        is_followed: &mut bool,
    ) -> Result<(), RegistryError> {
        loop {
            tokio::select! {
                changed = condition.changed(), if *is_followed => match changed {
                    Ok(()) => return Ok(()),
                    // Nobody changes it any more once its sender is gone.
                    Err(_) => *is_followed = false,
                },
                () = lease.tick() => {
                    lease.keep_alive().await?;
                    // A lease that lives does not say that the key does.
                    still_held(lease.connection, key, lease.id).await?;
                }
            }
        }
    }
}

/// Whether the key is still there, and still under that lease.
async fn still_held(connection: &Connection, key: &str, lease: i64) -> Result<(), RegistryError> {
    match Found::at(connection, key).await?.lease {
        Some(holder) if holder == lease => Ok(()),
        Some(_) => Err(taken(connection, key)),
        None => {
            let why = format!("somebody has deleted {key} in etcd at {}", connection.endpoint);
            Err(RegistryError::unavailable(why))
        }
    }
}

/// Under which lease a key is, if it is there, and the revision of its last change.
struct Found {
    lease: Option<i64>,
    revision: i64,
}

impl Found {
    async fn at(connection: &Connection, key: &str) -> Result<Self, RegistryError> {
        let read = connection.answer("asking etcd who holds the key", connection.kv().get(key, None)).await?;
        let found = read.kvs().first();
        let revision = found.map_or(0, etcd_client::KeyValue::mod_revision);
        Ok(Self { lease: found.map(etcd_client::KeyValue::lease), revision })
    }
}

fn value(registration: &Registration, health: Health) -> Vec<u8> {
    let instance = serde_json::to_vec(&Instance::of(registration, health));
    instance.expect("strings, numbers and maps with text keys are JSON")
}

fn under(lease: i64) -> PutOptions {
    PutOptions::new().with_lease(lease)
}

fn taken(connection: &Connection, key: &str) -> RegistryError {
    let endpoint = &connection.endpoint;
    RegistryError::unavailable(format!(
        "another process has registered {key} in etcd at {endpoint}: waiting until it is gone"
    ))
}

#[async_trait]
impl Registrar for EtcdRegistrar {
    fn check(&self, registration: &Registration) -> Result<(), ConfigError> {
        self.key(&registration.service, &registration.id)?;
        if registration.ports.is_empty() {
            return Err(ConfigError::new("ports", "there is none: expected at least one"));
        }
        if registration.ports.contains_key("") && registration.ports.len() > 1 {
            return Err(ConfigError::new("ports", "one of several has no name: expected a name for each"));
        }
        if registration.ttl < Duration::from_secs(1) {
            return Err(ConfigError::new("ttl", "etcd counts in seconds: expected at least 1s"));
        }
        Ok(())
    }

    async fn keep(
        &self,
        registration: &Registration,
        mut condition: watch::Receiver<Health>,
        written: &watch::Sender<Option<Health>>,
    ) -> Result<Infallible, RegistryError> {
        let key = self.key(&registration.service, &registration.id).map_err(refused)?;
        let connection = self.connect().await?;
        let mut lease = Lease::grant(&connection, registration.ttl).await?;
        self.leases.granted(&key, lease.id);
        let mut is_followed = true;
        loop {
            let health = *condition.borrow_and_update();
            self.put(&connection, registration, health, lease.id).await?;
            written.send_replace(Some(health));
            Self::hold(&mut lease, &key, &mut condition, &mut is_followed).await?;
        }
    }

    async fn write(&self, registration: &Registration, condition: Health) -> Result<(), RegistryError> {
        let key = self.key(&registration.service, &registration.id).map_err(refused)?;
        let connection = self.connect().await?;
        let mut kv = connection.kv();
        let put = kv.put(key, value(registration, condition), None);
        connection.answer("registering in etcd", put).await.map(drop)
    }

    /// Revokes the leases: that deletes what is under them and nothing else, and what is still to be written
    /// under them is refused.
    async fn leave(&self, registration: &Registration) -> Result<bool, RegistryError> {
        let key = self.key(&registration.service, &registration.id).map_err(refused)?;
        let connection = self.connect().await?;
        let holder = Found::at(&connection, &key).await?.lease;
        let there = holder.is_some_and(|lease| self.leases.contains(&key, lease));
        for lease in self.leases.of(&key) {
            lease::revoke(&connection, lease).await?;
            self.leases.revoked(&key, lease);
        }
        Ok(there)
    }

    /// A lease ends by itself, whoever may write.
    fn left_behind(&self, registration: &Registration, _: Option<&RegistryError>) -> String {
        format!("etcd removes it within {:?}, when its lease ends", registration.ttl)
    }

    async fn remove(&self, service: &str, id: &str) -> Result<bool, RegistryError> {
        let key = self.key(service, id).map_err(refused)?;
        let connection = self.connect().await?;
        let mut kv = connection.kv();
        let deleted = connection.answer("deregistering from etcd", kv.delete(key, None)).await?;
        Ok(deleted.deleted() > 0)
    }
}

/// Whoever did not ask [`Registrar::check`] hears it here.
fn refused(error: ConfigError) -> RegistryError {
    RegistryError::malformed("registering in etcd").caused_by(error)
}
