//! The contract of stores of rules, D1 to D16: what of the contract of registries counts for texts, and what is theirs
//! alone.
//!
//! ```text
//!  DocumentBackend ──► platform (a Backend): outages, lost history, nonsense, stalls
//!                 └──► put, delete: documents as an operator writes them
//! ```

mod bench;
mod changes;
mod lifecycle;
mod trouble;

use anyhow::Result;
use async_trait::async_trait;
use pilot_registry::RuleStore;

use crate::contract::{Verdict, report_of};
use crate::{Backend, BadConfig};

pub use changes::{
    d03_empty_is_not_unknown, d04_documents_come_change_and_go, d05_rewrites_are_no_change,
    d08_what_is_no_text_hides_only_itself_and_keeps_its_last_text, d09_what_is_too_large_changes_nothing,
    d14_many_documents_arrive_at_once, d16_a_document_that_moves_is_never_missing,
};
pub use lifecycle::{
    d01_construction_is_pure, d11_dropping_the_attempt_ends_it, d12_a_second_run_is_like_the_first,
    d13_secrets_are_not_shown,
};
pub use trouble::{
    d02_nothing_before_the_first_list, d06_an_outage_keeps_the_documents_and_what_changed_is_seen_after_it,
    d07_lost_history_is_relisted, d10_errors_are_of_their_kind, d15_refused_credentials_keep_the_documents,
};

/// What the store under test takes at most, in bytes: of one document where it counts these, of all together where it
/// counts those. The suite stays below, or puts one document of [`HUGE`] bytes.
const LIMIT: usize = 400 << 10;
/// The same, for thousands of documents.
const LIMIT_OF_MANY: usize = 16 << 20;
/// More than [`LIMIT`], and less than any platform refuses.
pub const HUGE: usize = 450 << 10;

/// A platform with documents of rules, as its operator has it in hand.
#[async_trait]
pub trait DocumentBackend: Send + Sync + 'static {
    /// The platform itself, to be cut off and broken, and to say what it cannot do.
    fn platform(&mut self) -> &mut dyn Backend;

    /// A store that follows it, constructed as pilot would, which takes so many bytes: of one document where it counts
    /// these, of all together where it counts those. Called outside any runtime, too.
    fn store(&self, limit: usize) -> Box<dyn RuleStore>;

    /// Where the document of that name stands in the store.
    fn place(&self, name: &str) -> String;

    /// What the adapter is expected to say of a document that was put.
    fn as_seen(&self, document: &str) -> String {
        document.to_owned()
    }

    /// How large a document is that the store does not take, in bytes.
    fn huge(&self) -> usize {
        HUGE
    }

    /// Whether it knows which document is older.
    fn has_ages(&self) -> bool;

    /// Configurations that the adapter refuses, and what it says. At least one.
    fn bad_configs(&self) -> Vec<BadConfig>;

    /// Adds or replaces the document of that name.
    async fn put(&mut self, name: &str, content: &[u8]) -> Result<()>;

    /// Removes a document that is there.
    async fn delete(&mut self, name: &str) -> Result<()>;

    /// Why a document's content is always text there, if it is.
    fn has_only_text(&self) -> Option<&'static str> {
        None
    }

    /// Why a document cannot stand under two names, if it cannot.
    fn is_named_by_its_content(&self) -> Option<&'static str> {
        None
    }

    /// What `Debug` shows of the adapter's configuration and of the store.
    fn debug_views(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a test's function makes: see [`Made`](crate::Made).
pub trait MadeDocuments {
    /// The platform.
    type Backend: DocumentBackend;

    /// The platform, if there is one.
    fn made(self) -> Option<Self::Backend>;
}

impl<B: DocumentBackend> MadeDocuments for B {
    type Backend = B;

    fn made(self) -> Option<B> {
        Some(self)
    }
}

impl<B: DocumentBackend> MadeDocuments for Option<B> {
    type Backend = B;

    fn made(self) -> Self {
        self
    }
}

/// Says in a test what became of a rule.
///
/// # Panics
/// The rule was broken.
pub fn report(rule: &str, backend: &dyn DocumentBackend, outcome: Result<Verdict>) {
    report_of(rule, &format!("the store of {}", backend.store(LIMIT).name()), outcome);
}

/// Makes one test of each rule of the contract of stores. Takes an `async fn() -> anyhow::Result<impl DocumentBackend>`
/// (or of an option of one) that makes a new, empty platform. The crate that calls it needs `tokio` with its macros.
#[macro_export]
macro_rules! document_contract {
    ($make:path) => {
        $crate::document_contract! { @rules $make:
            d01_construction_is_pure
            d02_nothing_before_the_first_list
            d03_empty_is_not_unknown
            d04_documents_come_change_and_go
            d05_rewrites_are_no_change
            d06_an_outage_keeps_the_documents_and_what_changed_is_seen_after_it
            d07_lost_history_is_relisted
            d08_what_is_no_text_hides_only_itself_and_keeps_its_last_text
            d09_what_is_too_large_changes_nothing
            d10_errors_are_of_their_kind
            d11_dropping_the_attempt_ends_it
            d12_a_second_run_is_like_the_first
            d13_secrets_are_not_shown
            d14_many_documents_arrive_at_once
            d15_refused_credentials_keep_the_documents
            d16_a_document_that_moves_is_never_missing
        }
    };
    (@rules $make:path: $($rule:ident)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                let made = $make().await.expect("the test can make its platform");
                let Some(mut backend) = $crate::documents::MadeDocuments::made(made) else { return };
                let outcome = $crate::documents::$rule(&mut backend).await;
                $crate::documents::report(stringify!($rule), &backend, outcome);
            }
        )+
    };
}
