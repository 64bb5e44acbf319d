//! What no shape can say of a document: what belongs together, what excludes what, what cannot mean anything.

mod commands;
mod destination_rule;
mod gateway;
mod locality;
mod service_entry;
mod virtual_service;
mod words;
mod workload_entry;

pub(super) use destination_rule::destination_rule;
pub(super) use gateway::gateway;
pub(super) use service_entry::service_entry;
pub(super) use virtual_service::virtual_service;
pub(super) use workload_entry::workload_entry;

use super::finding::{Finding, Level, is_full};
use super::node::{Node, Path};

/// Takes down what is found, with its place.
pub(super) struct Report<'a> {
    spec: &'a Node,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Report<'a> {
    /// Of a document of which that stands under `spec`.
    pub(super) fn new(spec: &'a Node, findings: &'a mut Vec<Finding>) -> Self {
        Self { spec, findings }
    }

    /// The document is rejected.
    fn error(&mut self, path: &Path<'_>, message: impl Into<String>) {
        if is_full(self.findings, Level::Error) {
            return;
        }
        self.findings.push(Finding::error(self.spec.place(path), path, message));
    }

    /// The document counts, but its author should know this.
    fn warning(&mut self, path: &Path<'_>, message: impl Into<String>) {
        if is_full(self.findings, Level::Warning) {
            return;
        }
        self.findings.push(Finding::warning(self.spec.place(path), path, message));
    }

    /// Says what is wrong with a value, if something is.
    fn check(&mut self, path: &Path<'_>, result: Result<(), String>) {
        if let Err(message) = result {
            self.error(path, message);
        }
    }
}
