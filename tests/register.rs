//! `pilot register` and `pilot deregister`: the real binary, and real registries that it registers in.
//!
//! Each rule is tested on each kind of registry. What a registry then knows is seen through pilot's own
//! adapter. `tests/run` installs the servers; without one its tests say so, and are counted as skipped.
#![allow(clippy::unwrap_used, reason = "what a test cannot go on without ends it")]

#[path = "support"]
#[allow(dead_code, reason = "each test uses a part")]
mod support {
    pub(crate) mod process;
    pub(crate) mod tools;
    pub(crate) mod wait;
}

#[path = "register"]
mod register {
    pub(crate) mod bench;
    pub(crate) mod rules;
    pub(crate) mod signals;
    mod unit;
}

/// One test of each rule on each kind of registry.
macro_rules! on_every_registry {
    ($($rules:ident::$rule:ident)*) => {
        mod etcd {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(bench) = crate::register::bench::Bench::on_etcd().await {
                    crate::register::$rules::$rule(bench).await;
                }
            })*
        }
        mod consul {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                if let Some(bench) = crate::register::bench::Bench::on_consul().await {
                    crate::register::$rules::$rule(bench).await;
                }
            })*
        }
    };
}

on_every_registry! {
    rules::an_instance_drains_before_it_is_removed
    rules::what_fails_its_check_is_marked_and_stays
    rules::what_is_killed_goes_after_its_ttl
    rules::a_restart_of_the_registry_is_survived
    rules::a_registry_that_is_not_there_yet_is_waited_for
    rules::a_registry_that_is_gone_at_the_end_is_left_to_the_ttl
    rules::the_end_of_a_command_removes_it_at_once
    rules::a_signal_reaches_the_command_when_it_has_drained
    rules::an_instance_is_registered_when_its_program_listens
    signals::a_second_signal_ends_at_once
    signals::signals_of_one_moment_are_one
    signals::it_ends_with_a_drain_time_below_at_and_above_a_third_of_its_ttl
    signals::a_second_signal_ends_it_while_the_registry_is_silent
    signals::a_signal_ends_at_once_what_was_never_registered
    signals::a_second_signal_ends_it_though_nobody_reads_its_log
    signals::sighup_is_ignored_and_does_not_reach_the_command
    rules::instances_on_one_machine_do_not_disturb_each_other
    rules::the_command_ends_when_pilot_is_killed
    rules::the_end_of_one_of_two_with_the_same_id_leaves_the_other
    rules::what_is_deregistered_while_it_lives_comes_back
    rules::once_is_for_good
    rules::programs_do_not_get_pilots_secrets
}
