//! What is in force of what a store says, from one value of it to the next.

use std::collections::{BTreeMap, BTreeSet};

use pilot_registry::{Content, Text};
use proptest::prelude::*;

use super::*;

const GOOD: &str =
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, spec: {host: a}}";
const OTHER: &str =
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, spec: {host: b}}";
const WRONG: &str =
    "{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: a}, spec: {hosts: b}}";

fn texts<const N: usize>(texts: [(&str, &str); N]) -> Texts {
    let text = |text: &str| Text { text: text.into(), age: None, namespace: None };
    texts.into_iter().map(|(place, it)| (place.into(), Arc::new(text(it)))).collect()
}

/// The hosts of the rules in force.
fn hosts(library: &Library) -> Vec<String> {
    let host = |version: &Arc<Version>| match &version.spec {
        Spec::DestinationRule(rule) => rule.host.clone(),
        _ => unreachable!("none here"),
    };
    library.in_force().values().map(host).collect()
}

fn told(library: &Library) -> Vec<Entry> {
    library.entries().iter().cloned().collect()
}

fn took<const N: usize>(library: &mut Library, now: [(&str, &str); N]) -> usize {
    library.take(&texts(now), "default").documents.len()
}

#[test]
fn a_version_that_is_wrong_leaves_the_last_good_one_in_force() {
    let mut library = Library::default();
    assert_eq!(took(&mut library, [("a.yaml", GOOD)]), 1);
    assert_eq!(told(&library)[0].in_force, InForce::This);
    assert_eq!(took(&mut library, [("a.yaml", WRONG)]), 0);
    assert_eq!((hosts(&library), told(&library)[0].in_force), (vec!["a".into()], InForce::LastGood));
    assert!(told(&library)[0].is_rejected());
    assert_eq!(took(&mut library, [("a.yaml", OTHER)]), 1);
    assert_eq!((hosts(&library), told(&library)[0].in_force), (vec!["b".into()], InForce::This));
    assert_eq!(took(&mut library, []), 1);
    assert!(hosts(&library).is_empty() && told(&library).is_empty());
    assert_eq!(took(&mut library, [("a.yaml", WRONG)]), 0);
    assert_eq!(told(&library)[0].in_force, InForce::Nothing, "it was taken away meanwhile");
}

#[test]
fn what_an_earlier_pilot_left_is_for_documents_that_are_wrong() {
    let mut earlier = Library::default();
    took(&mut earlier, [("a.yaml", GOOD)]);
    let left: Vec<_> = earlier.in_force().values().cloned().collect();
    let resumed = || {
        let mut library = Library::default();
        library.resume(left.clone());
        library
    };
    let mut library = resumed();
    took(&mut library, [("b.yaml", WRONG)]);
    assert_eq!((hosts(&library), told(&library)[0].in_force), (vec!["a".into()], InForce::LastGood));
    let mut library = resumed();
    took(&mut library, [("a.yaml", OTHER)]);
    assert_eq!(hosts(&library), ["b"]);
    let mut library = resumed();
    took(&mut library, []);
    assert!(hosts(&library).is_empty(), "the store no longer has it");
    let mut library = resumed();
    took(&mut library, [("a.yaml", "kind: [")]);
    assert_eq!(hosts(&library), ["a"], "it may be what this place has");
    took(&mut library, []);
    took(&mut library, [("a.yaml", WRONG)]);
    assert!(hosts(&library).is_empty(), "it was gone in between");
}

#[test]
fn what_cannot_be_told_apart_may_be_any_document_of_its_place() {
    let mut library = Library::default();
    took(&mut library, [("a.yaml", GOOD), ("b.yaml", &GOOD.replace("name: a", "name: b"))]);
    took(&mut library, [("a.yaml", "kind: [")]);
    assert_eq!(hosts(&library).len(), 1, "that of a.yaml stays, that of b.yaml went with its file");
    let found = library.entries().iter().map(|entry| (entry.id.is_some(), entry.in_force));
    assert_eq!(found.collect::<Vec<_>>(), [(false, InForce::Nothing), (true, InForce::LastGood)]);
    assert!(library.entries().iter().all(Entry::is_rejected));
    took(&mut library, [("a.yaml", "")]);
    assert!(hosts(&library).is_empty());
}

#[test]
fn what_an_earlier_pilot_left_of_a_namespace_that_is_not_the_stores_any_more_is_not_in_force() {
    let mut earlier = Library::default();
    took(&mut earlier, [("a.yaml", GOOD)]);
    let left: Vec<_> = earlier.in_force().values().cloned().collect();
    let mut library = Library::of(vec![Namespace::try_from("apps".to_owned()).unwrap()]);
    library.resume(left);
    assert!(library.stand_in("why").is_empty());
    took(&mut library, [("a.yaml", GOOD)]);
    assert!(hosts(&library).is_empty());
    assert!(told(&library)[0].findings[0].message.contains("expected apps"), "{:?}", library.entries());
}

#[test]
fn what_stands_in_for_a_store_is_told_until_the_store_answers() {
    let mut earlier = Library::default();
    let second = GOOD.replace("name: a", "name: b");
    took(
        &mut earlier,
        [("a.yaml", &format!("{GOOD}\n---\n{second}")), ("b.yaml", &OTHER.replace("name: a", "name: c"))],
    );
    let left: Vec<_> = earlier.in_force().values().cloned().collect();
    let hashes: Vec<_> = told(&earlier).iter().map(|entry| entry.hash).collect();
    let stood_in = || {
        let mut library = Library::default();
        library.resume(left.clone());
        assert_eq!(library.stand_in("it is silent").len(), 3);
        library
    };
    let mut library = stood_in();
    let shown = told(&library);
    assert_eq!(shown.iter().filter_map(|entry| entry.id.clone()).collect::<Vec<_>>(), {
        library.in_force().keys().cloned().collect::<Vec<_>>()
    });
    assert_eq!(
        shown.iter().map(|entry| entry.hash).collect::<Vec<_>>(),
        hashes,
        "by which one can wait for it"
    );
    for entry in &shown {
        assert_eq!((entry.in_force, entry.is_rejected()), (InForce::LastGood, false));
        assert!(entry.findings[0].to_string().starts_with("it is silent: the version"), "{entry:?}");
    }
    let taken = library.take(&texts([("a.yaml", GOOD)]), "default");
    assert_eq!(taken.places.len(), 2, "where there was something to say");
    assert_eq!(told(&library).iter().map(|entry| entry.in_force).collect::<Vec<_>>(), [InForce::This]);
    let mut library = stood_in();
    took(&mut library, []);
    assert!(told(&library).is_empty() && hosts(&library).is_empty());
}

#[test]
fn a_document_that_moves_to_another_place_stays_in_force() {
    let mut library = Library::default();
    took(&mut library, [("b.yaml", GOOD)]);
    for now in [&[("a.yaml", GOOD), ("b.yaml", GOOD)][..], &[("a.yaml", GOOD)], &[("c.yaml", WRONG)]] {
        let text = |text: &str| Text { text: text.into(), age: None, namespace: None };
        let now: Texts = now.iter().map(|(place, it)| ((*place).into(), Arc::new(text(it)))).collect();
        library.take(&now, "default");
        assert_eq!(hosts(&library), ["a"]);
    }
    assert_eq!(told(&library)[0].in_force, InForce::LastGood, "also where it is wrong since");
}

#[test]
fn a_document_that_is_there_twice_counts_once() {
    let mut library = Library::default();
    took(&mut library, [("a.yaml", GOOD), ("b.yaml", OTHER)]);
    assert_eq!(hosts(&library), ["a"]);
    let double = &told(&library)[1];
    assert!(double.findings[0].message.contains("a.yaml:1"), "{double:?}");
    assert_eq!(double.in_force, InForce::Nothing);
}

#[test]
fn what_did_not_change_is_neither_read_nor_told_again() {
    let mut library = Library::default();
    let first = texts([("a.yaml", GOOD), ("b.yaml", "")]);
    library.take(&first, "default");
    let before = library.in_force().values().next().cloned().expect("one");
    let second = pilot_registry::Content::reusing(texts([("a.yaml", GOOD), ("b.yaml", "# new")]), &first);
    assert_eq!(library.take(&second, "default").documents, []);
    assert!(Arc::ptr_eq(&before, &library.in_force()[&before.id]));
}

/// A document of a kind that there is not.
fn misspelt() -> String {
    GOOD.replace("kind: DestinationRule", "kind: DestnationRule")
}

#[test]
fn a_misspelt_kind_takes_no_document_away() {
    let mut library = Library::default();
    took(&mut library, [("a.yaml", &format!("{GOOD}\n---\n{}", GOOD.replace("name: a", "name: b")))]);
    assert_eq!(took(&mut library, [("a.yaml", &misspelt())]), 1, "b went: nothing there has its name");
    assert_eq!(hosts(&library), ["a"]);
    let found = library.entries().iter().map(|entry| entry.in_force);
    assert_eq!(found.collect::<Vec<_>>(), [InForce::Nothing, InForce::LastGood]);
    took(&mut library, [("a.yaml", &misspelt().replace("DestnationRule", "Gateway"))]);
    assert!(hosts(&library).is_empty(), "another document stands in its place");
}

#[test]
fn a_document_that_moved_while_it_was_wrong_stays_where_it_is_now() {
    let mut library = Library::default();
    for now in [("a.yaml", GOOD), ("a.yaml", WRONG), ("b.yaml", WRONG), ("b.yaml", "kind: [")] {
        took(&mut library, [now]);
        assert_eq!(hosts(&library), ["a"], "{now:?}");
    }
    took(&mut library, [("a.yaml", "kind: [")]);
    assert!(hosts(&library).is_empty());
}

/// What stands at the places of a store, one line each: documents that are right, wrong, or cannot be told apart.
fn drawn() -> impl Strategy<Value = Vec<BTreeMap<usize, Vec<String>>>> {
    let name = prop_oneof!["a", "b", "c"];
    let document = (name, 0..3_usize).prop_map(|(name, what)| {
        let text = [GOOD, OTHER, WRONG][what];
        text.replace("name: a", &format!("name: {name}"))
    });
    let misspelt =
        prop_oneof!["a", "b", "c"].prop_map(|name| misspelt().replace("name: a", &format!("name: {name}")));
    let unreadable = Just("kind: [".to_owned());
    let document = prop_oneof![6 => document, 1 => misspelt, 1 => unreadable, 1 => Just("# none".to_owned())];
    let places = proptest::collection::btree_map(0..4_usize, proptest::collection::vec(document, 0..3), 0..4);
    proptest::collection::vec(places, 1..8)
}

/// What is in force of each document, and what is told of each, found by looking at all of it.
#[derive(Default)]
struct Model {
    in_force: BTreeMap<DocumentId, Arc<Version>>,
}

impl Model {
    fn take(&mut self, texts: &Texts) -> Vec<(Arc<str>, Option<DocumentId>, InForce)> {
        let shelves: BTreeMap<_, _> = texts
            .iter()
            .map(|(place, text)| (Arc::clone(place), Shelf::read(place, text, "default", &[])))
            .collect();
        let (mut next, mut told, mut seen) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for (place, read) in
            shelves.iter().flat_map(|(place, shelf)| shelf.documents.iter().map(move |it| (place, it)))
        {
            let is_first = read.id.as_ref().is_some_and(|id| seen.insert(id.clone()));
            let last = read.id.as_ref().and_then(|id| self.in_force.get(id));
            let in_force = match (&read.version, last) {
                _ if !is_first => InForce::Nothing,
                (Some(_), _) => InForce::This,
                (None, Some(_)) => InForce::LastGood,
                (None, None) => InForce::Nothing,
            };
            told.push((Arc::clone(place), read.id.clone(), in_force));
            let moved =
                |last: &Arc<Version>| Arc::new(Version { place: Arc::clone(place), ..(**last).clone() });
            if let Some(version) = read.version.clone().or_else(|| last.map(moved)).filter(|_| is_first) {
                next.insert(version.id.clone(), version);
            }
        }
        for (id, version) in self.in_force.iter().filter(|(id, _)| !seen.contains(*id)) {
            if shelves.get(&version.place).is_some_and(|shelf| shelf.maybe(id).is_some()) {
                told.push((Arc::clone(&version.place), Some(id.clone()), InForce::LastGood));
                next.insert(id.clone(), Arc::clone(version));
            }
        }
        told.sort_by(|a, b| a.0.cmp(&b.0));
        self.in_force = next;
        told
    }
}

proptest! {
    /// Also where documents stand at several places, move, and cannot be told apart.
    #[test]
    fn what_changed_leads_to_the_same_as_everything(steps in drawn()) {
        let (mut library, mut model, mut last) = (Library::default(), Model::default(), Texts::default());
        for step in steps {
            let text = |lines: Vec<String>| Text { text: lines.join("\n---\n").into(), age: None, namespace: None };
            let now = step.into_iter().map(|(place, lines)| (place.to_string().into(), Arc::new(text(lines))));
            let now = Content::reusing(Texts::from_iter(now), &last);
            let (before, told_before) = (library.in_force().clone(), told(&library));
            let taken = library.take(&now, "default");
            last = now.clone();
            let expected = model.take(&now);
            let found: Vec<_> =
                library.entries().iter().map(|it| (Arc::clone(&it.place), it.id.clone(), it.in_force)).collect();
            prop_assert_eq!(found, expected);
            let in_force: BTreeMap<_, _> = library.in_force().iter().map(|(id, it)| (id.clone(), Arc::clone(it))).collect();
            prop_assert_eq!(&in_force, &model.in_force);
            let ids: BTreeSet<_> = before.keys().chain(in_force.keys()).cloned().collect();
            let changed: Vec<_> = ids.into_iter().filter(|id| before.get(id) != in_force.get(id)).collect();
            prop_assert_eq!(&taken.documents, &changed);
            // Whoever looks at these places only misses nothing.
            let elsewhere = |all: Vec<Entry>| -> Vec<Entry> {
                all.into_iter().filter(|it| !taken.places.contains(&it.place)).collect()
            };
            prop_assert_eq!(elsewhere(told(&library)), elsewhere(told_before));
        }
    }
}
