//! The contract of registries, kept by files: by a folder with one file per service, and by one file.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

// A test's modules are looked for beside it, where they would be tests of their own.
#[path = "contract/backend.rs"]
mod backend;
#[path = "contract/document.rs"]
mod document;
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
