//! The variables of other tools, where they are meant: the file has one registry of a kind, and says neither
//! where it is nor who pilot is for it.

use std::collections::BTreeMap;

use pilot_registry::usual::Given;
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

/// The table of that kind, and the registry's name, if there is one alone.
fn only<'t, 'i>(table: &'t DeTable<'i>, kind: &str) -> Option<(&'t str, &'t DeTable<'i>)> {
    let inner = |value: &'t Spanned<DeValue<'i>>| match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    };
    let registries = inner(table.get("registry")?)?;
    let mut of_kind = registries.iter().filter_map(|(name, entry)| {
        let entry = inner(entry)?;
        Some((name.get_ref().as_ref(), inner(entry.get(kind)?)?))
    });
    let first = of_kind.next()?;
    of_kind.next().is_none().then_some(first)
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
