//! The suite complains of each registry that breaks a rule. The clock is paused: a rule that waits in vain
//! does so in no time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pilot_registry::{Health, RegistryError, Service, ServiceRegistry, Snapshot, SnapshotSink, async_trait};
use pilot_registry_testkit::memory::{Connection, Entry, MemoryBackend, MemoryPlatform, Update};
use pilot_registry_testkit::{Backend, contract, operations_converge};

/// What is wrong with a registry.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    ConnectsAtConstruction,
    SpawnsAtConstruction,
    PublishesBeforeTheList,
    PublishesServiceByService,
    FearsEmptiness,
    ForgetsRemovals,
    SeesNoHealth,
    PublishesEachRewrite,
    PublishesEmptyOnOutage,
    IgnoresRemovalsDuringOutage,
    StopsAtLostHistory,
    FailsOnMalformedEntry,
    HidesMalformedEntry,
    LeavesAConnection,
    LeavesATask,
    KeepsSnapshots,
    CallsEverythingUnavailable,
    PanicsOnNonsense,
    RunsOnce,
    PublishesAPage,
    ShowsTheToken,
    LogsTheToken,
}

struct Broken {
    flaw: Flaw,
    platform: MemoryPlatform,
    ran: AtomicBool,
    known: Mutex<BTreeMap<String, Entry>>,
    kept: Mutex<Vec<Connection>>,
    hoard: Mutex<Vec<Snapshot>>,
    rewrites: Mutex<u32>,
}

impl Broken {
    fn new(flaw: Flaw, platform: MemoryPlatform) -> Self {
        let kept = match flaw {
            Flaw::ConnectsAtConstruction => platform.connect(MemoryBackend::TOKEN).into_iter().collect(),
            _ => Vec::new(),
        };
        if flaw == Flaw::SpawnsAtConstruction {
            #[allow(clippy::disallowed_methods, reason = "this is what is wrong with it")]
            tokio::spawn(std::future::pending::<()>());
        }
        Self {
            flaw,
            platform,
            ran: AtomicBool::new(false),
            known: Mutex::default(),
            kept: Mutex::new(kept),
            hoard: Mutex::default(),
            rewrites: Mutex::default(),
        }
    }

    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    async fn follow(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        let mut connection = self.platform.connect(MemoryBackend::TOKEN)?;
        if self.is(Flaw::PublishesBeforeTheList) {
            sink.publish(Snapshot::default());
        }
        loop {
            let listing = connection.list().await?;
            self.take_list(listing.entries);
            self.follow_from(listing.revision, &mut connection, sink).await?;
            if self.is(Flaw::StopsAtLostHistory) {
                std::future::pending::<()>().await;
            }
        }
    }

    fn take_list(&self, entries: BTreeMap<String, Entry>) {
        let mut known = self.known.lock().unwrap();
        if !self.is(Flaw::IgnoresRemovalsDuringOutage) {
            known.clear();
        }
        known.extend(entries);
    }

    /// Until the history is lost.
    async fn follow_from(
        &self,
        mut revision: u64,
        connection: &mut Connection,
        sink: &SnapshotSink,
    ) -> Result<(), RegistryError> {
        loop {
            self.publish(sink)?;
            if self.is(Flaw::LeavesAConnection) {
                self.kept.lock().unwrap().extend(self.platform.connect(MemoryBackend::TOKEN));
            }
            let Update::Changed(at, changed) = connection.changes(revision).await? else { return Ok(()) };
            revision = at;
            let mut known = self.known.lock().unwrap();
            for (name, entry) in changed {
                match entry {
                    Some(entry) => _ = known.insert(name, entry),
                    None if self.is(Flaw::ForgetsRemovals) => {}
                    None => _ = known.remove(&name),
                }
            }
            *self.rewrites.lock().unwrap() += 1;
        }
    }

    fn publish(&self, sink: &SnapshotSink) -> Result<(), RegistryError> {
        let mut services = Vec::new();
        for (name, entry) in &*self.known.lock().unwrap() {
            match entry {
                Entry::Service(service) => services.push(self.seen(service)),
                Entry::Malformed(_) if self.is(Flaw::HidesMalformedEntry) => {}
                Entry::Malformed(why) if self.is(Flaw::FailsOnMalformedEntry) => {
                    return Err(RegistryError::malformed(why));
                }
                Entry::Malformed(why) => sink.skipped(name, why),
            }
            if self.is(Flaw::PublishesServiceByService) {
                sink.publish(Snapshot::new(services.clone()).unwrap());
            }
            if self.is(Flaw::PublishesAPage) && services.len() == 100 {
                sink.publish(Snapshot::new(services.clone()).unwrap());
            }
        }
        if self.is(Flaw::FearsEmptiness) && services.is_empty() {
            return Ok(());
        }
        let snapshot = Snapshot::new(services).unwrap();
        if self.is(Flaw::KeepsSnapshots) {
            self.hoard.lock().unwrap().push(snapshot.clone());
        }
        sink.publish(snapshot);
        Ok(())
    }

    fn seen(&self, service: &Arc<Service>) -> Arc<Service> {
        let mut spec = Service::clone(service).into_spec();
        match self.flaw {
            Flaw::SeesNoHealth => spec.endpoints.iter_mut().for_each(|one| one.health = Health::Unknown),
            Flaw::PublishesEachRewrite => {
                let count = self.rewrites.lock().unwrap().to_string();
                spec.labels.insert("resource-version".to_owned(), count);
            }
            _ => return Arc::clone(service),
        }
        Arc::new(Service::new(spec).unwrap())
    }
}

#[async_trait]
impl ServiceRegistry for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    async fn run(&self, sink: &SnapshotSink) -> Result<Infallible, RegistryError> {
        if self.is(Flaw::RunsOnce) && self.ran.swap(true, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.is(Flaw::LeavesATask) {
            #[allow(clippy::disallowed_methods, reason = "this is what is wrong with it")]
            tokio::spawn(std::future::pending::<()>());
        }
        let Err(error) = self.follow(sink).await;
        match self.flaw {
            Flaw::PublishesEmptyOnOutage => sink.publish(Snapshot::default()),
            Flaw::PanicsOnNonsense => panic!("called `Result::unwrap()` on an `Err` value: {error}"),
            Flaw::CallsEverythingUnavailable => return Err(RegistryError::unavailable(error.chain())),
            Flaw::ShowsTheToken => {
                return Err(RegistryError::new(error.kind(), format!("{error} {}", MemoryBackend::TOKEN)));
            }
            Flaw::LogsTheToken => tracing::warn!(token = MemoryBackend::TOKEN, "retrying"),
            _ => {}
        }
        Err(error)
    }
}

fn backend(flaw: Flaw) -> MemoryBackend {
    MemoryBackend::with(move |platform| Box::new(Broken::new(flaw, platform)))
}

macro_rules! caught {
    ($($name:ident: $flaw:ident breaks $rule:ident $saying:literal;)+) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                let outcome = contract::$rule(&mut backend(Flaw::$flaw)).await;
                let error = format!("{:#}", outcome.expect_err("the rule is broken"));
                assert!(error.contains($saying), "{error}");
            }
        )+
    };
}

caught! {
    io_at_construction: ConnectsAtConstruction breaks c01_construction_is_pure "opened 1 connections";
    spawning_at_construction: SpawnsAtConstruction breaks c01_construction_is_pure "where there is no runtime";
    publishing_before_the_list: PublishesBeforeTheList breaks c02_nothing_before_the_first_list "while the list was not complete";
    publishing_service_by_service: PublishesServiceByService breaks c02_nothing_before_the_first_list "the list was one";
    publishing_unknown_as_empty: PublishesEmptyOnOutage breaks c03_empty_is_not_unknown "that cannot be reached";
    never_publishing_empty: FearsEmptiness breaks c03_empty_is_not_unknown "an empty platform";
    forgetting_removals: ForgetsRemovals breaks c04_services_come_change_and_go "a service was removed";
    seeing_no_health: SeesNoHealth breaks c05_endpoints_come_change_and_go "gets unhealthy";
    publishing_a_rewrite: PublishesEachRewrite breaks c06_order_and_rewrites_are_no_change "waited";
    l22_publishing_empty_on_outage: PublishesEmptyOnOutage breaks c07_outage_keeps_last_good "because of the outage";
    ignoring_removals_during_outage: IgnoresRemovalsDuringOutage breaks c08_changes_during_an_outage_are_seen "after the outage";
    l22_stopping_at_lost_history: StopsAtLostHistory breaks c09_lost_history_is_relisted "history was lost";
    failing_on_a_malformed_entry: FailsOnMalformedEntry breaks c10_a_malformed_entry_hides_only_itself "malformed entry";
    hiding_a_malformed_entry: HidesMalformedEntry breaks c10_a_malformed_entry_hides_only_itself "to be reported";
    publishing_too_often: PublishesServiceByService breaks c11_rapid_changes_converge "revisions";
    leaving_a_connection: LeavesAConnection breaks c12_dropping_the_attempt_ends_it "connections are still open";
    leaving_a_task: LeavesATask breaks c12_dropping_the_attempt_ends_it "1 tasks are left over";
    keeping_snapshots: KeepsSnapshots breaks c13_old_snapshots_are_released "old services are still held";
    calling_everything_unavailable: CallsEverythingUnavailable breaks c14_errors_are_of_their_kind "expected denied";
    panicking: PanicsOnNonsense breaks c14_errors_are_of_their_kind "the registry panicked: called";
    running_once: RunsOnce breaks c15_a_second_run_is_like_the_first "the second run";
    running_one_at_a_time: RunsOnce breaks c18_two_runs_at_once_do_not_disturb_each_other "a second run";
    publishing_a_page: PublishesAPage breaks c16_many_services_arrive_at_once "the list was one";
    showing_the_token: ShowsTheToken breaks c17_secrets_are_not_shown "an error shows a secret";
    logging_the_token: LogsTheToken breaks c17_secrets_are_not_shown "a log shows a secret";
}

#[tokio::test(start_paused = true)]
async fn drawn_operations_find_a_flaw_and_say_how_to_repeat_it() {
    let make = || async { Ok(backend(Flaw::SeesNoHealth)) };
    let error = format!("{:#}", operations_converge(make).await.expect_err("it does not converge"));
    for part in ["PILOT_SEED=", "Put(", "the expected services"] {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn a_token_stays_out_of_every_error_of_the_suite() {
    let mut platform = backend(Flaw::ShowsTheToken);
    let outcome = contract::c17_secrets_are_not_shown(&mut platform).await;
    let error = format!("{:#}", outcome.expect_err("the rule is broken"));
    assert!(platform.secrets().iter().all(|secret| !error.contains(secret.as_str())));
}
