//! The variables of other tools, where they are meant: the file has one registry of a kind, and says neither
//! where it is nor who pilot is for it.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, UsualValue};
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Origins;
use super::entry::usual_variables;
use super::origin::{join, put};

/// A variable of another tool that a value was taken from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsedVariable {
    /// Its name: `CONSUL_HTTP_ADDR`.
    pub variable: String,
    /// The key that it stands for: `registry.east.consul.address`.
    pub key: String,
    /// What the key was given. No secret: of a token it is the variable's name.
    pub value: String,
}

/// A variable of another tool that says something, and does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusedVariable {
    /// Its name: `CONSUL_HTTP_ADDR`.
    pub variable: &'static str,
    /// Why it does not count.
    pub why: String,
}

/// A value for a key, from a variable of another tool.
pub(super) struct Usual {
    variable: &'static str,
    key: String,
    value: Given,
}

/// What the environment says that the table does not.
pub(super) fn find(environment: &BTreeMap<String, String>, table: &DeTable<'_>) -> Vec<Usual> {
    let mut found = Vec::new();
    for (kind, variables) in usual_variables() {
        let Some((registry, table)) = only(table, kind) else { continue };
        if variables.unless.iter().any(|key| table.get(*key).is_some()) {
            continue;
        }
        found.extend((variables.find)(environment).into_iter().map(|usual| Usual {
            variable: usual.variable,
            key: join(&format!("registry.{registry}.{kind}"), usual.key),
            value: usual.value,
        }));
    }
    found
}

/// What the environment says in vain, where nothing says the same.
pub(super) fn unused(environment: &BTreeMap<String, String>, table: &DeTable<'_>) -> Vec<UnusedVariable> {
    let mut unused = Vec::new();
    for (kind, variables) in usual_variables() {
        let registries = of_kind(table, kind);
        let why = match registries.as_slice() {
            [] => continue,
            [(name, table)] => match variables.unless.iter().find(|key| table.get(**key).is_some()) {
                None => continue,
                Some(key) => format!("[registry.{name}.{kind}] has {key}"),
            },
            several => format!("there are {} registries of {kind}", several.len()),
        };
        let is_new = |usual: &UsualValue| registries.iter().all(|(_, table)| !says(table, usual));
        let found = (variables.find)(environment).into_iter().filter(is_new);
        unused.extend(found.map(|usual| UnusedVariable { variable: usual.variable, why: why.clone() }));
    }
    unused
}

/// Whether the table says the same.
fn says(table: &DeTable<'_>, usual: &UsualValue) -> bool {
    let is = |value: &DeValue<'_>, text: &str| matches!(value, DeValue::String(it) if it == text);
    match (table.get(usual.key).map(Spanned::get_ref), &usual.value) {
        (Some(value), Given::Text(text)) => is(value, text),
        (Some(DeValue::Array(list)), Given::List(texts)) => {
            list.len() == texts.len() && list.iter().zip(texts).all(|(value, text)| is(value.get_ref(), text))
        }
        _ => false,
    }
}

/// Registries of one kind that do not say where their platform is, though it has only one default place, and are
/// not told apart by what they follow there. Each of them with the key that is missing, and what to know of it.
pub(super) fn of_one_place(table: &DeTable<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (kind, variables) in usual_variables() {
        let Some((key, place)) = variables.default_place else { continue };
        let lacking = of_kind(table, kind);
        let lacking: Vec<_> = lacking.into_iter().filter(|(_, table)| table.get(key).is_none()).collect();
        for (at, (name, table)) in lacking.iter().enumerate() {
            let follows = |table: &DeTable<'_>| -> Vec<Option<String>> {
                let said = |key: &&str| table.get(*key).map(|value| format!("{:?}", value.get_ref()));
                variables.selects.iter().map(said).collect()
            };
            let same = lacking[..at].iter().find(|(_, other)| follows(other) == follows(table));
            if let Some((other, _)) = same {
                let why =
                    format!("{key} is missing here and in registry.{other}.{kind}: both follow {place}");
                found.push((join(&format!("registry.{name}.{kind}"), key), why));
            }
        }
    }
    found
}

/// The table of that kind, and the registry's name, if there is one alone.
fn only<'t, 'i>(table: &'t DeTable<'i>, kind: &str) -> Option<(&'t str, &'t DeTable<'i>)> {
    match of_kind(table, kind).as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

/// The tables of that kind, with the registries' names.
fn of_kind<'t, 'i>(table: &'t DeTable<'i>, kind: &str) -> Vec<(&'t str, &'t DeTable<'i>)> {
    let inner = |value: &'t Spanned<DeValue<'i>>| match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    };
    let registries = table.get("registry").and_then(inner).into_iter().flatten();
    let of_kind = registries.filter_map(|(name, entry)| {
        let entry = inner(entry)?;
        Some((name.get_ref().as_ref(), inner(entry.get(kind)?)?))
    });
    of_kind.collect()
}

/// Puts the values into the table. They are the settings that begin at `first`.
pub(super) fn apply(usual: &[Usual], first: usize, table: &mut DeTable<'_>, origins: &Origins) {
    for (index, Usual { key, value, .. }) in usual.iter().enumerate() {
        let span = origins.span_of_setting(first + index);
        let text = |text: &String| DeValue::String(text.clone().into());
        let value = match value {
            Given::Text(it) => text(it),
            Given::List(items) => {
                let mut list = DeArray::new();
                items.iter().for_each(|item| list.push(Spanned::new(span.clone(), text(item))));
                DeValue::Array(list)
            }
        };
        put(table, key, Spanned::new(span, value));
    }
}

impl Usual {
    /// Its variable.
    pub(super) fn variable(&self) -> &'static str {
        self.variable
    }

    /// For those who ask what was used.
    pub(super) fn used(&self) -> UsedVariable {
        let value = match &self.value {
            Given::Text(text) => text.clone(),
            Given::List(items) => items.join(", "),
        };
        // A user and a password have no place in an address, and are not shown if they are there.
        let value = if value.contains('@') { "(not shown)".to_owned() } else { value };
        UsedVariable { variable: self.variable.to_owned(), key: self.key.clone(), value }
    }
}
