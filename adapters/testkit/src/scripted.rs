//! A registry that does what a test says, when it says so.

use std::convert::Infallible;

use async_trait::async_trait;
use pilot_registry::{Fault, RegistryError, ServiceRegistry, Snapshot, SnapshotSink};
use tokio::sync::{Mutex, mpsc, oneshot, watch};

/// A registry that follows a [`Script`]. Until it is told something it does nothing, like a platform that
/// does not answer. A run that begins beside another follows [`Script::beside`].
#[derive(Debug)]
pub struct Scripted {
    name: &'static str,
    steps: Mutex<mpsc::Receiver<(Step, oneshot::Sender<()>)>>,
    beside: Mutex<mpsc::Receiver<(Step, oneshot::Sender<()>)>>,
    attempts: watch::Sender<u64>,
}

/// What a [`Scripted`] registry is driven by. Each step returns when the registry has done it; a step that
/// comes while no attempt runs waits for the next one.
#[derive(Clone, Debug)]
pub struct Script {
    steps: mpsc::Sender<(Step, oneshot::Sender<()>)>,
    beside: mpsc::Sender<(Step, oneshot::Sender<()>)>,
    attempts: watch::Receiver<u64>,
}

#[derive(Debug)]
enum Step {
    Publish(Snapshot),
    Skip(String, String),
    Fault(RegistryError),
    Cure,
    Fail(RegistryError),
    Hang,
    Panic(String),
}

impl Scripted {
    /// A registry named `scripted`, and its script.
    pub fn new() -> (Self, Script) {
        Self::named("scripted")
    }

    /// The same, with another name.
    pub fn named(name: &'static str) -> (Self, Script) {
        let ((steps, rx), (beside, rx_beside)) = (mpsc::channel(1), mpsc::channel(1));
        let (attempts, counted) = watch::channel(0);
        let registry = Self { name, steps: Mutex::new(rx), beside: Mutex::new(rx_beside), attempts };
        (registry, Script { steps, beside, attempts: counted })
    }
}

#[async_trait]
impl ServiceRegistry for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        self.attempts.send_modify(|count| *count += 1);
        let mut steps = match self.steps.try_lock() {
            Ok(steps) => steps,
            Err(_another_runs) => self.beside.lock().await,
        };
        let mut faults: Vec<Fault<Snapshot>> = Vec::new();
        while let Some((step, done)) = steps.recv().await {
            let mut end = None;
            match step {
                Step::Publish(snapshot) => sink.publish(snapshot),
                Step::Skip(entry, why) => sink.skipped(entry, why),
                Step::Fault(error) => faults.push(sink.fault(error)),
                Step::Cure => faults.clear(),
                Step::Fail(error) => end = Some(error),
                Step::Hang => {
                    _ = done.send(());
                    return std::future::pending().await;
                }
                Step::Panic(text) => {
                    _ = done.send(());
                    panic!("{text}")
                }
            }
            // A test that no longer waits is not an error of the registry.
            _ = done.send(());
            if let Some(error) = end {
                return Err(error);
            }
        }
        // The script is gone: nothing will ever change.
        std::future::pending().await
    }
}

impl Script {
    /// Publishes a snapshot.
    pub async fn publish(&self, snapshot: Snapshot) {
        self.step(Step::Publish(snapshot)).await;
    }

    /// Leaves an entry out of the snapshot that is published next.
    pub async fn skip(&self, entry: &str, why: &str) {
        self.step(Step::Skip(entry.to_owned(), why.to_owned())).await;
    }

    /// Degrades the registry while its attempt goes on, until [`Script::cure`].
    pub async fn fault(&self, error: RegistryError) {
        self.step(Step::Fault(error)).await;
    }

    /// Ends all faults.
    pub async fn cure(&self) {
        self.step(Step::Cure).await;
    }

    /// Ends the attempt with an error. Whoever runs it learns of that after this returns.
    pub async fn fail(&self, error: RegistryError) {
        self.step(Step::Fail(error)).await;
    }

    /// The attempt does nothing any more, until it is dropped.
    pub async fn hang(&self) {
        self.step(Step::Hang).await;
    }

    /// The attempt panics, which no adapter should.
    pub async fn panic(&self, text: &str) {
        self.step(Step::Panic(text.to_owned())).await;
    }

    /// The script of the run that goes on beside the first.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { steps: self.beside.clone(), ..self.clone() }
    }

    /// How many attempts have begun, those beside others among them.
    pub fn attempts(&self) -> u64 {
        *self.attempts.borrow()
    }

    /// Waits until that many attempts have begun.
    ///
    /// # Panics
    /// The registry was dropped before.
    pub async fn attempted(&mut self, count: u64) {
        let reached = self.attempts.wait_for(|attempts| *attempts >= count).await;
        reached.expect("the scripted registry is there while its script is used");
    }

    async fn step(&self, step: Step) {
        let (done, was_done) = oneshot::channel();
        let sent = self.steps.send((step, done)).await;
        sent.expect("the scripted registry is there while its script is used");
        was_done.await.expect("the attempt goes on until it has done the step");
    }
}
