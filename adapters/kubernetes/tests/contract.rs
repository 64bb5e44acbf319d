//! The contract of registries, kept by a Kubernetes API server: by one that streams lists, and by one that
//! has pages only.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/backend.rs"]
mod backend;
#[path = "contract/objects.rs"]
mod objects;

mod streaming {
    use crate::backend::KubernetesBackend;

    async fn streaming() -> anyhow::Result<KubernetesBackend> {
        KubernetesBackend::new(true).await
    }

    pilot_registry_testkit::contract!(streaming);
}

mod pages {
    use crate::backend::KubernetesBackend;

    async fn pages() -> anyhow::Result<KubernetesBackend> {
        KubernetesBackend::new(false).await
    }

    pilot_registry_testkit::contract!(pages);
}
