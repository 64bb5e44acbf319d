//! The contract of registries, kept by files: by a folder with one file per service, and by one file; and that of stores of
//! rules, by a folder.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/backend.rs"]
mod backend;
#[path = "contract/document.rs"]
mod document;
#[path = "contract/documents.rs"]
mod documents;
#[path = "contract/unprivileged.rs"]
mod unprivileged;

mod folder {
    use crate::backend::{FileBackend, Layout};

    async fn folder() -> anyhow::Result<FileBackend> {
        FileBackend::new(Layout::Folder)
    }

    pilot_registry_testkit::contract!(folder);
}

mod one_file {
    use crate::backend::{FileBackend, Layout};

    async fn one_file() -> anyhow::Result<FileBackend> {
        FileBackend::new(Layout::OneFile)
    }

    pilot_registry_testkit::contract!(one_file);
}

mod rules {
    use crate::documents::FileDocuments;

    async fn rules() -> anyhow::Result<FileDocuments> {
        FileDocuments::new()
    }

    pilot_registry_testkit::document_contract!(rules);
}
