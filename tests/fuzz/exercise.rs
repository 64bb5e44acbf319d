//! What is done with each text: read, validated, taken in, indexed. Run by the fuzz target and by `tests/fuzz.rs`.

use std::sync::Arc;

use pilot::rules::{Document, DocumentChange, Kind, Level, Library, Rules, Ruling, Spec, StoreRank, read};
use pilot_registry::{Text, Texts};

/// Whatever a store holds is taken in without a panic, and what is accepted is found again. Gives its documents.
///
/// # Panics
/// It is not.
pub(crate) fn exercise(data: &[u8]) -> Vec<Document> {
    let Ok(text) = std::str::from_utf8(data) else { return Vec::new() };
    let documents = read(text, "default");
    documents.iter().for_each(|document| is_told(document, text));
    is_indexed(text);
    documents
}

/// A document is in force or rejected, with a reason at a place; what is kept of it on disk says the same.
fn is_told(document: &Document, text: &str) {
    let is_wrong = document.findings.iter().any(|finding| finding.level == Level::Error);
    assert_eq!(document.spec.is_none(), is_wrong, "{:?}", document.findings);
    // YAML's line ends: LF, CR LF, CR.
    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
    for finding in &document.findings {
        assert!((1..=lines).contains(&finding.at.line), "{finding} is in none of the {lines} lines");
        assert!(!finding.message.is_empty());
    }
    let Some(spec) = &document.spec else { return };
    let id = document.id.as_ref().expect("what is in force has a name");
    let again = read(&document.source, &id.namespace);
    assert_eq!(again.len(), 1, "{}", document.source);
    assert_eq!((again[0].id.as_ref(), again[0].spec.as_ref()), (Some(id), Some(spec)), "{}", document.source);
}

/// What is in force is found by its hosts, and is gone when its text is.
fn is_indexed(text: &str) {
    let place: Arc<str> = "a.yaml".into();
    let text = Arc::new(Text { text: text.into(), age: Some(7), namespace: None });
    let mut library = Library::default();
    library.take(&Texts::from_iter([(place, text)]), "default");
    let store = StoreRank { priority: 0, name: "store".into() };
    let put = library.in_force().iter().map(|(id, version)| DocumentChange {
        store: store.clone(),
        id: id.clone(),
        now: Some(Arc::clone(version)),
    });
    let rules = Rules::default().with(put).0;
    for ruling in rules.iter() {
        for host in hosts(&ruling.version.spec) {
            let found = of_host(&rules, ruling.version.spec.kind(), host);
            assert!(found.contains(&ruling), "{host} does not lead to {}", ruling.version.id);
        }
        // Nothing of it is looked for twice.
        _ = (ruling.destinations(), ruling.asked_labels());
    }
    let ids: Vec<_> = library.in_force().keys().cloned().collect();
    library.take(&Texts::default(), "default");
    let gone = ids.into_iter().map(|id| DocumentChange { store: store.clone(), id, now: None });
    assert!(rules.with(gone).0.is_empty() && library.in_force().is_empty());
}

fn hosts(spec: &Spec) -> Vec<&str> {
    match spec {
        Spec::VirtualService(rule) => rule.hosts.iter().map(String::as_str).collect(),
        Spec::DestinationRule(rule) => vec![&rule.host],
        Spec::ServiceEntry(entry) => entry.hosts.iter().map(String::as_str).collect(),
        Spec::WorkloadEntry(_) => Vec::new(),
        Spec::Gateway(_) => Vec::new(),
    }
}

fn of_host<'a>(rules: &'a Rules, kind: Kind, host: &str) -> Vec<&'a Ruling> {
    match host.strip_prefix('*') {
        Some(suffix) => rules.of_wildcard(kind, suffix).iter().collect(),
        None => rules.naming(kind, host).iter().collect(),
    }
}
