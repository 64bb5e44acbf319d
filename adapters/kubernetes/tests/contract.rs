//! The contract of registries, kept by a Kubernetes API server: by one in this process that streams lists,
//! by one that has pages only, and by a real one; and that of stores of rules, by the first.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/backend.rs"]
mod backend;
#[path = "support/cluster.rs"]
mod cluster;
#[path = "contract/configs.rs"]
mod configs;
#[path = "contract/documents.rs"]
mod documents;
#[path = "contract/objects.rs"]
mod objects;
#[path = "support/permissions.rs"]
mod permissions;
#[path = "contract/real.rs"]
mod real;
#[path = "contract/writer.rs"]
mod writer;

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

mod rules {
    use crate::documents::KubernetesDocuments;

    async fn rules() -> anyhow::Result<KubernetesDocuments> {
        KubernetesDocuments::new().await
    }

    pilot_registry_testkit::document_contract!(rules);
}

mod on_a_real_server {
    use crate::real::RealBackend;

    async fn real() -> anyhow::Result<Option<RealBackend>> {
        RealBackend::new().await
    }

    pilot_registry_testkit::contract!(real);
}
