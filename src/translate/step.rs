//! From one mesh to the next: what changed, and what becomes of it where a translation fails.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use crate::catalog::{CatalogService, ServiceChange, changes};
use crate::mesh::Mesh;
use crate::resources::Published;
use imbl::OrdMap;
use pilot_registry::Hostname;

/// One mesh, and what differs from the one before.
pub struct Step {
    /// Counts the meshes of this process.
    pub(super) generation: u64,
    /// When the change that led to it was published by a registry.
    pub(super) changed: Published,
    pub(super) mesh: Arc<Mesh>,
    before: Option<Arc<Mesh>>,
    since: OnceLock<Vec<ServiceChange>>,
    all: OnceLock<Vec<ServiceChange>>,
}

impl Step {
    /// The step from `before` to `mesh`; `None` = from nothing.
    pub(super) fn new(
        before: Option<Arc<Mesh>>,
        mesh: Arc<Mesh>,
        generation: u64,
        changed: Published,
    ) -> Self {
        Self { generation, changed, mesh, before, since: OnceLock::new(), all: OnceLock::new() }
    }

    /// The services that differ from the mesh before.
    pub(super) fn changes(&self) -> &[ServiceChange] {
        self.since.get_or_init(|| {
            let before = self.before.as_ref().map(|mesh| Arc::clone(mesh.catalog.shared_services()));
            changes(&before.unwrap_or_default(), self.mesh.catalog.shared_services())
        })
    }

    /// The services of this mesh, as if there had been none before: for a layer that is made from nothing.
    pub(super) fn everything(&self) -> &[ServiceChange] {
        self.all.get_or_init(|| changes(&Arc::default(), self.mesh.catalog.shared_services()))
    }

    /// Whether what was translated for the mesh before can be continued.
    pub(super) fn continues(&self) -> bool {
        self.before.as_ref().is_some_and(|before| before.options == self.mesh.options)
    }
}

/// The services whose translation failed: they keep what they had before.
pub(super) type Failures = OrdMap<Hostname, Failure>;

/// A translation that failed, which is a bug.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// The words of the panic.
    pub(super) why: Arc<str>,
    /// The service as it was translated last; `None` = never.
    pub(super) last: Option<Arc<CatalogService>>,
}

/// Translates something. A panic costs what was to be translated, and nothing else.
pub(super) fn attempt<T>(translate: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    // What it reads is immutable, and what it would have made is lost.
    catch_unwind(AssertUnwindSafe(translate)).map_err(|panic| reason(&*panic).into())
}

fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_failure_with_its_words() {
        assert_eq!(attempt(|| 1), Ok(1));
        assert_eq!(attempt(|| panic!("no such port")).unwrap_err().as_ref(), "no such port");
        let port = 80;
        assert_eq!(attempt(|| panic!("port {port}")).unwrap_err().as_ref(), "port 80");
    }
}
