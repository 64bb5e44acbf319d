//! What is in force of what stores of rules say, and what is on disk of it.

use std::path::Path;
use std::sync::mpsc;

use pilot_registry::{RegistryError, Sink, Text, channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::rules::InForce;

const HOLD: Duration = Duration::from_secs(30);
const DEADLINE: Duration = Duration::from_secs(60);

fn texts<const N: usize>(texts: [(&str, &str); N]) -> Texts {
    let head = "apiVersion: networking.istio.io/v1, kind: DestinationRule";
    let text = |host: &str| Text {
        text: format!("{{{head}, metadata: {{name: {host}}}, spec: {{host: {host}}}}}").into(),
        age: None,
        namespace: None,
    };
    texts.into_iter().map(|(place, host)| (place.into(), Arc::new(text(host)))).collect()
}

fn book(save: Option<SavedRules>) -> (Sink<Texts>, Rulebook) {
    let (sink, feed) = channel();
    let policy = RulesPolicy { hold: Some(HOLD), wait: Duration::from_secs(2), save };
    let (name, kind, namespaces) = ("local".into(), "file", Vec::new());
    (sink, Rulebook::new(vec![RegisteredRules { name, kind, priority: 0, namespaces, feed, policy }]))
}

/// Takes in what the store says. Gives how many documents are in force; `None` = it is waited for.
fn taken(book: &Rulebook) -> Option<usize> {
    book.take(Instant::now());
    book.in_force().1.map(|rules| rules.iter().count())
}

/// Until something is looked at again though the store says nothing new.
async fn until_due(book: &Rulebook) {
    let due = book.take(Instant::now()).expect("it is looked at again");
    tokio::time::advance(due - Instant::now()).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_suddenly_empty_is_believed_when_it_still_says_so() {
    let (sink, book) = book(None);
    assert_eq!(taken(&book), None, "it has not answered");
    sink.publish(texts([("a.yaml", "a"), ("b.yaml", "b")]));
    assert_eq!(taken(&book), Some(2));
    sink.publish(texts([("a.yaml", "a")]));
    assert_eq!(taken(&book), Some(1), "one of two may go");
    sink.publish(texts([]));
    assert_eq!(taken(&book), Some(1));
    until_due(&book).await;
    assert_eq!(taken(&book), Some(1), "it has said nothing since");
    sink.publish(texts([]));
    assert_eq!(taken(&book), Some(0));
    sink.publish(texts([("a.yaml", "a")]));
    assert_eq!(taken(&book), Some(1));
    sink.publish(texts([]).deliberate());
    assert_eq!(taken(&book), Some(0), "somebody meant it");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_since_it_lost_everything_is_not_believed() {
    let (sink, book) = book(None);
    sink.publish(texts([("a.yaml", "a")]));
    assert_eq!(taken(&book), Some(1));
    sink.publish(texts([]));
    assert_eq!(taken(&book), Some(1));
    tokio::time::advance(Duration::from_secs(1)).await;
    let fault = sink.fault(RegistryError::unavailable("it is being started"));
    // However long that is.
    for _ in 0..3 {
        tokio::time::advance(HOLD).await;
        assert_eq!(taken(&book), Some(1), "what it said may be a part of its trouble");
    }
    drop(fault);
    sink.publish(texts([]));
    assert_eq!(taken(&book), Some(0), "it is well, and still says so");
}

/// What an earlier pilot left of one document.
async fn left_by_an_earlier_pilot(folder: &Path) -> Option<SavedRules> {
    let saved = SavedRules::new(folder, "local", "file", 10_000);
    let (sink, earlier) = book(Some(saved.clone()));
    sink.publish(texts([("a.yaml", "a")]));
    earlier.take(Instant::now());
    earlier.flush().await;
    Some(saved)
}

/// The documents that stand in for what the store says, and why.
fn stand_ins(book: &Rulebook) -> Vec<String> {
    let (_, entries) = book.entries();
    let left = entries[0].iter().filter(|entry| entry.in_force == InForce::LastGood);
    let why = |message: &str| message.split([',', ':']).next().unwrap_or_default().to_owned();
    left.map(|entry| format!("{}: {}", entry.id.as_ref().unwrap(), why(&entry.findings[0].message))).collect()
}

#[tokio::test(start_paused = true)]
async fn what_a_store_lost_while_no_pilot_ran_is_in_force_until_it_still_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, book) = book(left_by_an_earlier_pilot(folder.path()).await);
    book.load().await;
    sink.publish(texts([]));
    assert_eq!(taken(&book), Some(1), "nobody waits for it");
    assert_eq!(
        stand_ins(&book),
        ["DestinationRule/default/a: the store says that all of its documents are gone"]
    );
    book.flush().await;
    assert_eq!(
        book.stores[0].policy.save.as_ref().unwrap().load().unwrap().unwrap().len(),
        1,
        "it is kept as well"
    );
    until_due(&book).await;
    sink.publish(texts([]));
    assert_eq!(taken(&book), Some(0));
    book.flush().await;
    assert!(book.stores[0].policy.save.as_ref().unwrap().load().unwrap().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_stood_in_for_by_what_was_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, book) = book(left_by_an_earlier_pilot(folder.path()).await);
    book.load().await;
    assert_eq!(taken(&book), None);
    until_due(&book).await;
    assert_eq!(taken(&book), Some(1));
    assert_eq!(
        stand_ins(&book),
        ["DestinationRule/default/a: the store has not answered since pilot was started"]
    );
    sink.publish(texts([("a.yaml", "a"), ("b.yaml", "b")]));
    assert_eq!(taken(&book), Some(2));
    assert_eq!(stand_ins(&book), [""; 0]);
}

/// `/readyz` is answered on the thread that answers `/livez`.
#[test]
fn who_asks_what_is_known_does_not_wait_until_documents_are_read() {
    let (sink, book) = book(None);
    sink.publish(texts([("a.yaml", "a")]));
    assert_eq!(taken(&book), Some(1));
    // Somebody reads documents, and takes its time.
    let reading = book.shelves.lock();
    let (asked, answered) = mpsc::sync_channel(1);
    std::thread::scope(|threads| {
        threads.spawn(|| asked.send((book.unknown().len(), book.entries().1[0].iter().count())));
        let answer = answered.recv_timeout(DEADLINE);
        drop(reading);
        assert_eq!(answer, Ok((0, 1)));
    });
}

/// A state folder that hangs holds up no rules.
#[tokio::test]
async fn rules_count_while_earlier_ones_are_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let (sink, book) = book(Some(SavedRules::new(folder.path(), "local", "file", 10_000)));
    let book = Arc::new(book);
    let mut tasks = JoinSet::new();
    let of_task = Arc::clone(&book);
    tasks.spawn(async move { of_task.follow().await });
    let mut shown = book.subscribe();
    let mut until = async |count| {
        let is_there = |shown: &Shown| shown.rules.iter().count() == count;
        timeout(DEADLINE, shown.wait_for(is_there)).await.expect("it comes").unwrap();
    };
    sink.publish(texts([("a.yaml", "a")]));
    until(1).await;
    let writing = book.disks[0].saved.lock().await;
    for (count, said) in [(2, texts([("a.yaml", "a"), ("b.yaml", "b")])), (1, texts([("b.yaml", "b")]))] {
        sink.publish(said);
        until(count).await;
    }
    drop(writing);
    let saved = book.stores[0].policy.save.as_ref().unwrap();
    let is_saved = async {
        while saved.load().unwrap().unwrap_or_default().iter().map(|version| &*version.place).ne(["b.yaml"]) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, is_saved).await.expect("what is in force is on disk in the end");
}
