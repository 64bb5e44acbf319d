//! The writing side: an instance under a lease, so that a crash takes away exactly that instance.

use std::convert::Infallible;
use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use etcd_client::{LeaseKeepAliveStream, LeaseKeeper, PutOptions};
use pilot_registry::{ConfigError, Health, Hostname, Registrar, Registration, RegistryError};
use tokio::sync::watch;
use tokio::time::{Duration, MissedTickBehavior, interval};

use crate::Config;
use crate::connection::Connection;
use crate::document::Instance;
use crate::keys::Keys;

/// Registers instances in etcd. Made by [`crate::registrar`].
#[derive(Debug)]
pub struct EtcdRegistrar {
    config: Config,
    keys: Keys,
    turn: AtomicUsize,
}

impl EtcdRegistrar {
    pub(crate) fn new(config: Config) -> Self {
        let keys = Keys::new(&config.prefix);
        Self { config, keys, turn: AtomicUsize::new(0) }
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

    /// Writes the instance; `lease` 0 is for good.
    async fn put(
        &self,
        connection: &Connection,
        registration: &Registration,
        health: Health,
        lease: i64,
    ) -> Result<(), RegistryError> {
        let key = self.key(&registration.service, &registration.id).map_err(refused)?;
        let instance = serde_json::to_vec(&Instance::of(registration, health));
        let value = instance.expect("strings, numbers and maps with text keys are JSON");
        let put = PutOptions::new().with_lease(lease);
        connection.answer("registering in etcd", connection.kv().put(key, value, Some(put))).await.map(drop)
    }
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
        let connection = self.connect().await?;
        let mut lease = Lease::grant(&connection, registration.ttl).await?;
        let mut is_followed = true;
        loop {
            let health = *condition.borrow_and_update();
            self.put(&connection, registration, health, lease.id).await?;
            written.send_replace(Some(health));
            lease.keep_until(&mut condition, &mut is_followed).await?;
        }
    }

    async fn write(&self, registration: &Registration, condition: Health) -> Result<(), RegistryError> {
        let connection = self.connect().await?;
        self.put(&connection, registration, condition, 0).await
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

/// A lease, and the stream on which it is kept alive.
struct Lease<'a> {
    connection: &'a Connection,
    id: i64,
    ticks: tokio::time::Interval,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl<'a> Lease<'a> {
    async fn grant(connection: &'a Connection, ttl: Duration) -> Result<Self, RegistryError> {
        let mut client = connection.client.lease_client();
        // Whole seconds, rather more than less.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let granted = connection.answer("asking etcd for a lease", client.grant(seconds, None)).await?;
        let keep = client.keep_alive(granted.id());
        let (keeper, answers) = connection.answer("keeping the lease in etcd alive", keep).await?;
        let mut ticks = interval(ttl / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { connection, id: granted.id(), ticks, keeper, answers })
    }

    /// Keeps it alive until the condition changes. Nobody changes it any more once its sender is gone.
    async fn keep_until(
        &mut self,
        condition: &mut watch::Receiver<Health>,
        is_followed: &mut bool,
    ) -> Result<(), RegistryError> {
        loop {
            tokio::select! {
                changed = condition.changed(), if *is_followed => match changed {
                    Ok(()) => return Ok(()),
                    Err(_) => *is_followed = false,
                },
                _ = self.ticks.tick() => self.keep_alive().await?,
            }
        }
    }

    async fn keep_alive(&mut self) -> Result<(), RegistryError> {
        const DOING: &str = "keeping the lease in etcd alive";
        let (keeper, answers) = (&mut self.keeper, &mut self.answers);
        let question = async {
            keeper.keep_alive().await?;
            answers.message().await
        };
        let answer = self.connection.answer(DOING, question).await?;
        // etcd answers a time of zero for a lease that it does not have.
        if answer.is_some_and(|answer| answer.ttl() > 0) {
            return Ok(());
        }
        let endpoint = &self.connection.endpoint;
        Err(RegistryError::unavailable(format!("{DOING} at {endpoint}: the lease is gone")))
    }
}
