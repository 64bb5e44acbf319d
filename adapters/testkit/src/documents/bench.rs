//! A store under test, with the documents that it should report.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use pilot_registry::{RegistryHealth, RuleStore, State, Texts};
use serde_json::json;

use super::{DocumentBackend, LIMIT, LIMIT_OF_MANY};
use crate::contract::{Gap, Verdict};
use crate::{Operation, Runner};

/// The documents that were put and not deleted are the model; what the store says is compared with it.
pub(super) struct Bench<'a> {
    pub(super) backend: &'a mut dyn DocumentBackend,
    model: BTreeMap<String, String>,
    gaps: Vec<Gap>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(backend: &'a mut dyn DocumentBackend) -> Self {
        Self { backend, model: BTreeMap::new(), gaps: Vec::new() }
    }

    /// A bench with two documents.
    pub(super) async fn with_two(backend: &'a mut dyn DocumentBackend) -> Result<Self> {
        let mut bench = Self::new(backend);
        bench.put("a", "one").await?;
        bench.put("b", "two").await?;
        Ok(bench)
    }

    pub(super) async fn put(&mut self, name: &str, word: &str) -> Result<()> {
        let text = document(name, word);
        self.backend.put(name, text.as_bytes()).await.with_context(|| format!("putting {name}"))?;
        self.model.insert(self.backend.place(name), self.backend.as_seen(&text));
        Ok(())
    }

    pub(super) async fn delete(&mut self, name: &str) -> Result<()> {
        self.model.remove(&self.backend.place(name)).context("only what is there is deleted")?;
        self.backend.delete(name).await.with_context(|| format!("deleting {name}"))
    }

    pub(super) fn store(&self) -> Arc<dyn RuleStore> {
        self.backend.store(LIMIT).into()
    }

    /// Follows a new store.
    pub(super) fn run(&self) -> Runner<Texts> {
        Runner::of_rules(self.store())
    }

    /// Follows a new store that takes thousands of documents.
    pub(super) fn run_with_many(&self) -> Runner<Texts> {
        Runner::of_rules(self.backend.store(LIMIT_OF_MANY).into())
    }

    /// The document stands under another name from now on. It is there twice for a moment, as where nobody can change
    /// two names at once.
    pub(super) async fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let text =
            self.model.get(&self.backend.place(from)).cloned().context("only what is there is renamed")?;
        self.backend.put(to, text.as_bytes()).await.with_context(|| format!("putting {to}"))?;
        self.model.insert(self.backend.place(to), text);
        self.delete(from).await
    }

    /// Whether that is what is there.
    pub(super) fn is_it(&self, texts: &Texts) -> bool {
        let found = texts.iter().map(|(place, text)| (&**place, &*text.text));
        let expected = self.model.iter().map(|(place, text)| (place.as_str(), text.as_str()));
        found.eq(expected) && texts.iter().all(|(_, text)| text.age.is_some() == self.backend.has_ages())
    }

    /// Waits until the store is live and says what is there.
    pub(super) async fn agrees(&self, runner: &mut Runner<Texts>) -> Result<()> {
        let seen = runner.until("the expected documents", |state| {
            let is_live = matches!(state.health(), RegistryHealth::Live);
            let published = state.published.as_ref()?;
            (is_live && self.is_it(&published.value)).then_some(())
        });
        seen.await.with_context(|| format!("expected {:?}", self.model.keys()))
    }

    /// Makes a change, waits until it is seen, and requires that nothing else was published since `revision`.
    pub(super) async fn nothing_came_since(
        &mut self,
        revision: u64,
        runner: &mut Runner<Texts>,
    ) -> Result<()> {
        self.put("sentinel", "last").await?;
        self.agrees(runner).await?;
        let came = runner.revision();
        ensure!(came <= revision + 1, "revision {revision} and one more change made revision {came}");
        Ok(())
    }

    /// Whether the platform can do that; if not, it is noted.
    pub(super) fn can(&mut self, operation: Operation) -> bool {
        let lacking = self.backend.platform().lacks(operation);
        let gap = lacking.map(|why| Gap { operation, why });
        self.gaps.extend(gap.filter(|gap| !self.gaps.contains(gap)));
        lacking.is_none()
    }

    /// Notes that the platform has no such content.
    pub(super) fn cannot_say(&mut self, fact: &'static str, why: &'static str) {
        self.gaps.push(Gap { operation: Operation::Say(fact), why });
    }

    pub(super) fn verdict(self) -> Result<Verdict> {
        Ok(Verdict { gaps: self.gaps })
    }
}

/// A document that says that word: JSON, which is YAML, too.
pub(super) fn document(name: &str, word: &str) -> String {
    let (version, kind) = ("networking.istio.io/v1", "DestinationRule");
    let (metadata, spec) = (json!({ "name": name }), json!({ "host": format!("{word}.local") }));
    json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec }).to_string()
}

/// Whether the state says that something is wrong with that place.
pub(super) fn says(state: &State<Texts>, place: &str) -> bool {
    let is_about = |text: &str| text.contains(place);
    state.skipped.keys().any(|entry| is_about(entry))
        || state.troubles().any(|trouble| is_about(&trouble.error.chain()))
}
