//! The writing side of a platform in memory, which breaks when a test says so.

use std::collections::BTreeMap;
use std::convert::Infallible;

use async_trait::async_trait;
use pilot_registry::{ConfigError, Health, Registrar, Registration, RegistryError};
use tokio::sync::watch;

/// What has reached the platform, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrarEvent {
    /// An instance, by its id, was written with that condition.
    Written(String, Health),
    /// An instance, by its id, was removed.
    Removed(String),
}

/// A [`Registrar`] in memory. It answers at once, until a test takes it down.
#[derive(Debug, Default)]
pub struct ScriptedRegistrar {
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    way: Way,
    /// The condition of each instance, by service and id.
    instances: BTreeMap<(String, String), Health>,
    events: Vec<RegistrarEvent>,
    attempts: u64,
}

#[derive(Clone, Debug, Default)]
enum Way {
    #[default]
    Up,
    Failing(RegistryError),
    Silent,
}

impl ScriptedRegistrar {
    /// From now on everything fails with that error.
    pub fn fail(&self, error: RegistryError) {
        self.state.send_modify(|state| state.way = Way::Failing(error));
    }

    /// From now on nothing is answered.
    pub fn hang(&self) {
        self.state.send_modify(|state| state.way = Way::Silent);
    }

    /// Everything works again. What hung stays so.
    pub fn come_back(&self) {
        self.state.send_modify(|state| state.way = Way::Up);
    }

    /// Forgets all instances: those who keep them are told so.
    pub fn forget(&self) {
        self.state.send_modify(|state| state.instances.clear());
    }

    /// What has reached the platform so far.
    pub fn events(&self) -> Vec<RegistrarEvent> {
        self.state.borrow().events.clone()
    }

    /// The condition of an instance, if it is there.
    pub fn condition(&self, service: &str, id: &str) -> Option<Health> {
        self.state.borrow().instances.get(&(service.to_owned(), id.to_owned())).copied()
    }

    /// How many attempts to keep an instance have begun.
    pub fn attempts(&self) -> u64 {
        self.state.borrow().attempts
    }

    /// Waits until so many things have reached the platform, and tells them all.
    pub async fn reached(&self, count: usize) -> Vec<RegistrarEvent> {
        let mut states = self.state.subscribe();
        let reached = states.wait_for(|state| state.events.len() >= count).await;
        reached.expect("the sender lives in self").events.clone()
    }

    /// Waits until so many attempts to keep an instance have begun.
    pub async fn attempted(&self, count: u64) {
        let mut states = self.state.subscribe();
        let reached = states.wait_for(|state| state.attempts >= count).await;
        reached.expect("the sender lives in self");
    }

    /// What the platform does with a request: it does it, or it fails, or nothing comes back.
    async fn answer<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, RegistryError> {
        let way = self.state.borrow().way.clone();
        match way {
            Way::Failing(error) => Err(error),
            Way::Silent => std::future::pending().await,
            Way::Up => {
                let mut act = Some(act);
                let mut done = None;
                self.state.send_modify(|state| done = act.take().map(|act| act(state)));
                Ok(done.expect("send_modify calls its closure once"))
            }
        }
    }

    async fn put(&self, registration: &Registration, condition: Health) -> Result<(), RegistryError> {
        let (service, id) = (registration.service.clone(), registration.id.clone());
        self.answer(|state| {
            state.events.push(RegistrarEvent::Written(id.clone(), condition));
            state.instances.insert((service, id), condition);
        })
        .await
    }

    /// Ends when what is kept is no longer there, or the platform does not answer any more.
    async fn lost(&self, registration: &Registration) -> RegistryError {
        let key = (registration.service.clone(), registration.id.clone());
        let mut states = self.state.subscribe();
        let broken =
            |state: &State| matches!(state.way, Way::Failing(_)) || !state.instances.contains_key(&key);
        let state = states.wait_for(|state| broken(state)).await.expect("the sender lives in self");
        match &state.way {
            Way::Failing(error) => error.clone(),
            _ => RegistryError::unavailable("the instance was forgotten"),
        }
    }
}

#[async_trait]
impl Registrar for ScriptedRegistrar {
    fn check(&self, registration: &Registration) -> Result<(), ConfigError> {
        match registration.service.as_str() {
            "" => Err(ConfigError::new("service", "empty: expected a name")),
            _ => Ok(()),
        }
    }

    async fn keep(
        &self,
        registration: &Registration,
        mut condition: watch::Receiver<Health>,
        written: &watch::Sender<Option<Health>>,
    ) -> Result<Infallible, RegistryError> {
        self.state.send_modify(|state| state.attempts += 1);
        loop {
            let health = *condition.borrow_and_update();
            self.put(registration, health).await?;
            written.send_replace(Some(health));
            tokio::select! {
                error = self.lost(registration) => return Err(error),
                changed = condition.changed() => if changed.is_err() {
                    return Err(self.lost(registration).await);
                },
            }
        }
    }

    async fn write(&self, registration: &Registration, condition: Health) -> Result<(), RegistryError> {
        self.put(registration, condition).await
    }

    fn left_behind(&self, registration: &Registration, _: Option<&RegistryError>) -> String {
        format!("the platform removes it within {:?}", registration.ttl)
    }

    async fn remove(&self, service: &str, id: &str) -> Result<bool, RegistryError> {
        let key = (service.to_owned(), id.to_owned());
        self.answer(|state| {
            state.events.push(RegistrarEvent::Removed(id.to_owned()));
            state.instances.remove(&key).is_some()
        })
        .await
    }
}
