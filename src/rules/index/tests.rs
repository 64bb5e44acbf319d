//! Which documents are found by what, and what a change touches.

use super::*;
use crate::rules::read;

fn store(priority: u32, name: &str) -> StoreRank {
    StoreRank { priority, name: name.into() }
}

fn version(name: &str, age: Option<u64>, hosts: &str) -> Arc<Version> {
    let text = format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}}}, spec: {{hosts: \
         {hosts}, http: [{{directResponse: {{status: 200}}}}]}}}}"
    );
    let document = read(&text, "default").remove(0);
    let (id, spec) = document.id.zip(document.spec).expect("valid");
    Arc::new(Version { id, spec, place: "a".into(), age, source: document.source })
}

fn put(store: &StoreRank, version: &Arc<Version>) -> DocumentChange {
    DocumentChange { store: store.clone(), id: version.id.clone(), now: Some(Arc::clone(version)) }
}

fn names<'a>(rulings: impl IntoIterator<Item = &'a Ruling>) -> Vec<&'a str> {
    rulings.into_iter().map(|ruling| ruling.version.id.name.as_str()).collect()
}

#[test]
fn the_older_document_comes_first() {
    let (near, far) = (store(0, "near"), store(1, "far"));
    let (rules, touched) = Rules::default().with([
        put(&far, &version("oldest", Some(1), "[shop]")),
        put(&near, &version("ageless", None, "[shop, \"*.shop\"]")),
        put(&near, &version("b", Some(7), "[Shop]")),
        put(&near, &version("a", Some(7), "[shop]")),
    ]);
    assert_eq!(names(rules.naming(Kind::VirtualService, "SHOP")), ["a", "b", "ageless", "oldest"]);
    assert!(rules.naming(Kind::DestinationRule, "shop").is_empty());
    let hosts: Vec<_> = touched.hosts.iter().map(|(_, host)| &**host).collect();
    assert_eq!(hosts, ["*.shop", "shop"]);
}

#[test]
fn wildcards_are_found_the_most_specific_first() {
    let file = store(0, "file");
    let (rules, _) = Rules::default().with([
        put(&file, &version("all", Some(1), "[\"*.example.com\"]")),
        put(&file, &version("api", Some(2), "[\"*.api.example.com\"]")),
        put(&file, &version("other", Some(3), "[\"*.other\"]")),
    ]);
    let found = |host| names(rules.covering(Kind::VirtualService, host).map(|(_, ruling)| ruling));
    assert_eq!(found("v1.api.example.com"), ["api", "all"]);
    assert_eq!(found("api.example.com"), ["all"]);
    assert!(found("example.com").is_empty());
}

#[test]
fn of_a_document_that_several_stores_have_the_preferred_one_counts() {
    let (near, far) = (store(0, "near"), store(1, "far"));
    let (here, there) = (version("a", None, "[shop]"), version("a", None, "[other]"));
    let (rules, _) = Rules::default().with([put(&far, &there), put(&near, &here)]);
    assert_eq!(names(rules.naming(Kind::VirtualService, "shop")), ["a"]);
    assert!(rules.naming(Kind::VirtualService, "other").is_empty());
    assert_eq!(rules.winner(&here.id, &far), Some(&near));
    assert_eq!(rules.winner(&here.id, &near), None);
    let (rules, touched) = rules.with([DocumentChange { store: near, id: here.id.clone(), now: None }]);
    assert_eq!(names(rules.naming(Kind::VirtualService, "other")), ["a"]);
    assert_eq!(touched.hosts.len(), 2);
    let (rules, touched) = rules.with([put(&far, &there)]);
    assert_eq!(touched, TouchedNames::default(), "it is the same");
    let (rules, _) = rules.with([DocumentChange { store: far, id: here.id.clone(), now: None }]);
    assert!(rules.is_empty() && rules.naming(Kind::VirtualService, "other").is_empty());
}
