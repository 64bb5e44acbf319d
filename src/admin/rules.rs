//! What became of each document of the stores of rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::reply::Failure;
use super::services::nearest;
use super::{Admin, refusals};
use crate::mesh::Mesh;
use crate::rules::{InForce, Level};
use crate::translate::rules::Standing;
use crate::world::{Judged, RegisteredRules};

/// What became of one document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentReport {
    /// Its kind, its namespace and its name: `VirtualService/default/cart`; empty = that cannot be told.
    pub document: String,
    /// The store that has it, by its name in pilot.toml.
    pub store: String,
    /// Where it is in the store.
    pub place: String,
    /// The line at which it begins there, from 1; 0 = that is not known, because the store does not show it.
    pub line: usize,
    /// The worst that there is to say of it.
    pub state: Standing,
    /// What of it is in force.
    pub in_force: InForce,
    /// Why it is in that state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// What of it proxies refuse, in their words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The connected proxies that refuse something of it, by their node ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_by: Vec<String>,
    /// What its author should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// How a store of rules is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// Its name in pilot.toml.
    pub store: String,
    /// What kind it is: `file`.
    pub kind: String,
    /// 0 is preferred.
    pub priority: u32,
    /// How many texts it has: files, keys; `None` = it has not answered.
    pub texts: Option<usize>,
    /// All of its documents are gone at once. They stay in force until it has said so for a while.
    #[serde(default)]
    pub held: bool,
    /// What is wrong with it now. What it said before stays in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What of it is left out, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, String>,
}

impl StoreReport {
    fn of(store: &RegisteredRules, held: &BTreeSet<Arc<str>>) -> Self {
        store.feed.with_state(|state| Self {
            store: store.name.to_string(),
            kind: store.kind.to_owned(),
            priority: store.priority,
            texts: state.published.as_ref().map(|published| published.value.len()),
            held: held.contains(&store.name),
            troubles: state.troubles().map(|trouble| trouble.error.chain()).collect(),
            skipped: (*state.skipped).clone(),
        })
    }
}

/// All stores, and all of their documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesReport {
    /// The stores.
    pub stores: Vec<StoreReport>,
    /// Their documents, store by store.
    pub documents: Vec<DocumentReport>,
}

impl RulesReport {
    /// As of now. `name`: only the documents whose name, or kind/namespace/name, or place is this, and their stores.
    ///
    /// # Errors
    /// No document is called so.
    pub(super) fn of(admin: &Admin, name: Option<&str>) -> Result<Self, Failure> {
        let held = admin.world.rules_held();
        let stores = admin.world.rule_stores().iter().map(|store| StoreReport::of(store, &held)).collect();
        let mut report = Self { stores, documents: DocumentReport::all(admin) };
        if let Some(name) = name {
            report.narrow(name)?;
        }
        Ok(report)
    }

    fn narrow(&mut self, asked: &str) -> Result<(), Failure> {
        let is_meant = |it: &DocumentReport| [it.document.as_str(), it.name(), &it.place].contains(&asked);
        if !self.documents.iter().any(is_meant) {
            let all = || self.documents.iter().filter(|it| !it.document.is_empty());
            let names = all().map(|it| if asked.contains('/') { &it.document } else { it.name() });
            let names: BTreeSet<&str> = names.collect();
            let near = nearest(asked, names.into_iter()).into_iter().map(str::to_owned).collect::<Vec<_>>();
            return Err(Failure::not_found(format!("no document {asked:?}")).knowing(near));
        }
        self.documents.retain(is_meant);
        self.stores.retain(|it| self.documents.iter().any(|document| document.store == it.store));
        Ok(())
    }
}

impl DocumentReport {
    /// Its name, without kind and namespace.
    fn name(&self) -> &str {
        self.document.rsplit('/').next().unwrap_or_default()
    }

    fn all(admin: &Admin) -> Vec<Self> {
        let refused = refusals::by(admin, |origin| origin.document().map(ToString::to_string));
        let by = if refused.is_empty() { BTreeMap::new() } else { refusals::proxies(admin) };
        let mesh = admin.world.mesh();
        let judged = admin.world.judged();
        judged.iter().map(|judged| Self::of(judged, mesh.as_deref(), &refused, &by)).collect()
    }

    fn of(
        judged: &Judged,
        mesh: Option<&Mesh>,
        refused: &BTreeMap<String, Vec<String>>,
        by: &BTreeMap<String, BTreeSet<String>>,
    ) -> Self {
        let Judged { store, entry, said } = judged;
        let document = entry.id.as_ref().map(ToString::to_string).unwrap_or_default();
        let written = entry.findings.iter().filter(|finding| finding.level == Level::Warning);
        let (warnings, reasons): (Vec<_>, Vec<_>) =
            said.iter().partition(|(standing, _)| *standing == Standing::Accepted);
        let warnings = warnings.into_iter().map(|(_, what)| what.clone());
        let carriers = judged.carriers(mesh);
        let of_carrier = |carrier: &String| {
            let words = refused.get(carrier).into_iter().flatten();
            let is_own = *carrier == document;
            let told = words.map(move |words| match is_own {
                true => words.clone(),
                false => format!("of {carrier}, which delegates to it: {words}"),
            });
            told.collect::<Vec<_>>()
        };
        let refused_by: BTreeSet<&String> =
            carriers.iter().filter_map(|carrier| by.get(carrier)).flatten().collect();
        Self {
            refused: carriers.iter().flat_map(of_carrier).collect(),
            refused_by: refused_by.into_iter().cloned().collect(),
            store: store.to_string(),
            place: entry.place.to_string(),
            line: entry.at.line,
            state: judged.standing_with(mesh, |carrier| refused.contains_key(carrier)),
            document,
            in_force: entry.in_force,
            reasons: reasons.into_iter().map(|(_, why)| why.clone()).collect(),
            warnings: written.map(ToString::to_string).chain(warnings).collect(),
        }
    }
}
