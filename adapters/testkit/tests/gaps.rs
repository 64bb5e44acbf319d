//! What a platform cannot do is said by name, and what a backend forgot to write fails.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use pilot_registry::{Hostname, Service, ServiceRegistry, async_trait};
use pilot_registry_testkit::memory::MemoryBackend;
use pilot_registry_testkit::{Backend, BadConfig, Operation, contract, operations_converge};

/// A backend in which only what is required is written.
struct Bare {
    memory: MemoryBackend,
    declares: bool,
}

fn bare(declares: bool) -> Bare {
    Bare { memory: MemoryBackend::default(), declares }
}

#[async_trait]
impl Backend for Bare {
    fn registry(&self) -> Box<dyn ServiceRegistry> {
        self.memory.registry()
    }

    fn lacks(&self, _: Operation) -> Option<&'static str> {
        self.declares.then_some("it is bare")
    }

    fn bad_configs(&self) -> Vec<BadConfig> {
        self.memory.bad_configs()
    }

    fn as_seen(&self, service: &Arc<Service>) -> Arc<Service> {
        Arc::clone(service)
    }

    async fn put(&mut self, service: &Service) -> anyhow::Result<()> {
        self.memory.put(service).await
    }

    async fn delete(&mut self, host: &Hostname) -> anyhow::Result<()> {
        self.memory.delete(host).await
    }
}

#[tokio::test]
async fn what_is_declared_as_lacking_is_a_gap() {
    let verdict = contract::c07_outage_keeps_last_good(&mut bare(true)).await.unwrap();
    let gaps: Vec<String> = verdict.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(gaps, ["disconnect: it is bare"]);
    let verdict = contract::c14_errors_are_of_their_kind(&mut bare(true)).await.unwrap();
    let operations: Vec<Operation> = verdict.gaps.iter().map(|gap| gap.operation).collect();
    assert_eq!(operations, [Operation::Disconnect, Operation::Revoke, Operation::Garble]);
}

#[tokio::test]
async fn what_is_neither_written_nor_declared_fails() {
    let error = contract::c07_outage_keeps_last_good(&mut bare(false)).await.unwrap_err();
    assert!(error.to_string().contains("disconnect is not written"), "{error:#}");
}

#[tokio::test]
async fn operations_that_are_lacking_are_not_drawn() {
    operations_converge(|| async { Ok(bare(true)) }).await.unwrap();
}
