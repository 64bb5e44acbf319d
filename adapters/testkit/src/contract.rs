//! The contract of registries, C1 to C18, as functions that drive a [`Backend`], and a macro that makes
//! one test of each.
//!
//! "Nothing happens" is never a wait: after the moment in question another change is made, and once that
//! is seen, the count of revisions says whether something came in between.

mod bench;
mod changes;
mod entries;
mod lifecycle;
mod log;
mod outage;
mod secrets;
mod sync;

use std::fmt;
use std::io::Write;

use anyhow::Result;

use crate::{Backend, Operation};

pub(crate) use bench::{Bench, nobody_is_connected, tasks, tasks_at_most};
pub use changes::{
    c04_services_come_change_and_go, c05_endpoints_come_change_and_go, c06_order_and_rewrites_are_no_change,
    c11_rapid_changes_converge,
};
pub use entries::c10_a_malformed_entry_hides_only_itself;
pub(crate) use lifecycle::is_refused;
pub use lifecycle::{
    c01_construction_is_pure, c12_dropping_the_attempt_ends_it, c13_old_snapshots_are_released,
    c15_a_second_run_is_like_the_first, c18_two_runs_at_once_do_not_disturb_each_other,
};
pub use outage::{
    c07_outage_keeps_last_good, c08_changes_during_an_outage_are_seen, c09_lost_history_is_relisted,
    c14_errors_are_of_their_kind,
};
pub use secrets::c17_secrets_are_not_shown;
pub use sync::{
    c02_nothing_before_the_first_list, c03_empty_is_not_unknown, c16_many_services_arrive_at_once,
};

/// A rule was kept, as far as the platform can put it to the test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "what was not checked has to be reported"]
pub struct Verdict {
    /// What was not checked.
    pub gaps: Vec<Gap>,
}

/// What of a rule was not checked: it needs an operation that the platform does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The operation.
    pub operation: Operation,
    /// Why the platform does not have it.
    pub why: &'static str,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.why)
    }
}

/// Says in a test what became of a rule.
///
/// # Panics
/// The rule was broken.
pub fn report(rule: &str, backend: &dyn Backend, outcome: Result<Verdict>) {
    report_of(rule, backend.registry().name(), outcome);
}

/// The same of whatever was put to the test.
pub(crate) fn report_of(rule: &str, adapter: &str, outcome: Result<Verdict>) {
    let verdict = outcome.unwrap_or_else(|error| panic!("{adapter} breaks {rule}: {error:#}"));
    for Gap { operation, why } in verdict.gaps {
        // Not eprintln!, which is swallowed in a test that passes. If nobody can be told, so be it.
        _ = writeln!(std::io::stderr(), "{adapter}: {rule} is not applicable without \"{operation}\": {why}");
    }
}

/// Makes one test of each rule of the contract, and one that draws operations at random. Takes an
/// `async fn() -> anyhow::Result<impl Backend>` (or of an option of one, see
/// [`Made`](crate::Made)) that makes a new, empty platform:
///
/// ```
/// use pilot_registry_testkit::memory::MemoryBackend;
///
/// async fn memory() -> anyhow::Result<MemoryBackend> {
///     Ok(MemoryBackend::default())
/// }
///
/// pilot_registry_testkit::contract!(memory);
/// ```
///
/// The crate that calls it needs `tokio` with its macros.
#[macro_export]
macro_rules! contract {
    ($make:path) => {
        $crate::contract! { @rules $make:
            c01_construction_is_pure
            c02_nothing_before_the_first_list
            c03_empty_is_not_unknown
            c04_services_come_change_and_go
            c05_endpoints_come_change_and_go
            c06_order_and_rewrites_are_no_change
            c07_outage_keeps_last_good
            c08_changes_during_an_outage_are_seen
            c09_lost_history_is_relisted
            c10_a_malformed_entry_hides_only_itself
            c11_rapid_changes_converge
            c12_dropping_the_attempt_ends_it
            c13_old_snapshots_are_released
            c14_errors_are_of_their_kind
            c15_a_second_run_is_like_the_first
            c16_many_services_arrive_at_once
            c17_secrets_are_not_shown
            c18_two_runs_at_once_do_not_disturb_each_other
        }

        #[tokio::test]
        async fn operations_converge() {
            if let Err(error) = $crate::operations_converge($make).await {
                panic!("{error:#}");
            }
        }
    };
    (@rules $make:path: $($rule:ident)+) => {
        $(
            #[tokio::test]
            async fn $rule() {
                let made = $make().await.expect("the test can make its platform");
                let Some(mut backend) = $crate::Made::made(made) else { return };
                let outcome = $crate::contract::$rule(&mut backend).await;
                $crate::contract::report(stringify!($rule), &backend, outcome);
            }
        )+
    };
}
