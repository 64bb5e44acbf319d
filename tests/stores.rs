//! Every kind of store of rules, as the real `pilot serve` follows it: files, a real etcd, a real Consul, a Kubernetes API
//! server. What is in force is what the admin port says of each document.
//!
//! `tests/run` installs the servers; without one its tests say so, and are counted as skipped.
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod http;
    pub(crate) mod loopback;
    pub(crate) mod pilot;
    pub(crate) mod process;
    pub(crate) mod wait;
}

#[path = "stores"]
mod stores {
    pub(crate) mod bench;
    pub(crate) mod rules;
}

/// One test of each rule on each kind of store.
macro_rules! on_every_store {
    ($($rule:ident)*) => {
        on_every_store! { @kind files: $($rule)* }
        on_every_store! { @kind etcd: $($rule)* }
        on_every_store! { @kind consul: $($rule)* }
        on_every_store! { @kind kubernetes: $($rule)* }
    };
    (@kind $kind:ident: $($rule:ident)*) => {
        mod $kind {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(bench) = crate::stores::bench::Bench::$kind().await {
                    crate::stores::rules::$rule(bench).await;
                }
            })*
        }
    };
}

on_every_store! {
    what_is_wrong_is_rejected_alone_and_keeps_its_last_good_version_over_a_restart
    a_store_that_is_down_at_the_start_is_stood_in_for_until_it_is_back
    a_store_that_was_empty_and_is_down_at_the_start_holds_nothing_up
    a_store_that_was_never_seen_is_waited_for
    a_store_that_is_killed_keeps_its_documents_and_is_followed_again
    a_store_that_is_suddenly_empty_is_held_and_then_believed
    what_a_store_loses_while_no_pilot_runs_is_held_and_then_believed
    a_store_has_documents_of_its_namespaces_only
    what_became_of_a_document_is_told_once_and_again_when_it_is_over
}
