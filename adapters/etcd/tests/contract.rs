//! The contract of registries, kept by a real etcd: by one node, and by three of which any may be asked; and that of stores
//! of rules.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/backend.rs"]
mod backend;
#[path = "contract/documents.rs"]
mod documents;
#[path = "support/writer.rs"]
mod writer;

mod one_node {
    use crate::backend::EtcdBackend;

    async fn one_node() -> anyhow::Result<Option<EtcdBackend>> {
        EtcdBackend::new(1).await
    }

    pilot_registry_testkit::contract!(one_node);
}

mod three_nodes {
    use crate::backend::EtcdBackend;

    async fn three_nodes() -> anyhow::Result<Option<EtcdBackend>> {
        EtcdBackend::new(3).await
    }

    pilot_registry_testkit::contract!(three_nodes);
}

mod rules {
    use crate::documents::EtcdDocuments;

    async fn rules() -> anyhow::Result<Option<EtcdDocuments>> {
        EtcdDocuments::new().await
    }

    pilot_registry_testkit::document_contract!(rules);
}
