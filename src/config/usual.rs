//! The variables of other tools, where they are meant: the file has one registry of a kind, or one store of rules, and says
//! neither where it is nor who pilot is for it.

use std::collections::BTreeMap;

use pilot_registry::usual::{Given, UsualValue};
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::Origins;
use super::entry::{Section, usual_variables};
use super::origin::{join, put};

/// How an address begins that is called by TLS, and the keys that count only there.
const HTTPS: &str = "https://";
const TLS: &str = "tls.";

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
    /// Whether it would count elsewhere; or else pilot does not know what it says.
    pub is_read: bool,
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
    for (section, kind, variables) in usual_variables() {
        let Some((name, table)) = only(table, section, kind) else { continue };
        if variables.unless.iter().any(|key| table.get(*key).is_some()) {
            continue;
        }
        let said = (variables.find)(environment);
        let is_https = said.iter().any(|usual| usual.value.begins_with(HTTPS));
        let counts =
            |usual: &UsualValue| (is_https || !usual.key.starts_with(TLS)) && at(table, usual.key).is_none();
        found.extend(said.into_iter().filter(counts).map(|usual| Usual {
            variable: usual.variable,
            key: join(&format!("{}.{name}.{kind}", section.key), usual.key),
            value: usual.value,
        }));
    }
    found
}

/// The value at that path.
fn at<'t, 'i>(table: &'t DeTable<'i>, path: &str) -> Option<&'t DeValue<'i>> {
    match path.split_once('.') {
        None => table.get(path).map(Spanned::get_ref),
        Some((key, rest)) => match table.get(key).map(Spanned::get_ref)? {
            DeValue::Table(inner) => at(inner, rest),
            value => Some(value),
        },
    }
}

/// What the environment says in vain, where nothing says the same.
pub(super) fn unused(environment: &BTreeMap<String, String>, table: &DeTable<'_>) -> Vec<UnusedVariable> {
    let mut unused = Vec::new();
    for (section, kind, variables) in usual_variables() {
        let entries = of_kind(table, section, kind);
        let own =
            |table: &DeTable<'_>| variables.unless.iter().find(|key| table.get(**key).is_some()).copied();
        let why = |usual: &UsualValue| match entries.as_slice() {
            [] => None,
            [(name, table)] => {
                let key = own(table).or_else(|| at(table, usual.key).map(|_| usual.key))?;
                Some(format!("[{}.{name}.{kind}] has {key}", section.key))
            }
            several => Some(format!("there are {} {} of {kind}", several.len(), section.entries)),
        };
        let is_new = |usual: &UsualValue| entries.iter().all(|(_, table)| !says(table, usual));
        let said = (variables.find)(environment);
        let is_https = said.iter().any(|usual| usual.value.begins_with(HTTPS));
        for usual in said.into_iter().filter(is_new) {
            let in_vain = || {
                let is_vain = !entries.is_empty() && !is_https && usual.key.starts_with(TLS);
                is_vain.then(|| "the address does not begin with https://".to_owned())
            };
            let variable = usual.variable;
            let why = why(&usual).or_else(in_vain);
            unused.extend(why.map(|why| UnusedVariable { variable, why, is_read: true }));
        }
        // Where the file says which server is meant, they may be for another one.
        if entries.iter().any(|(_, table)| own(table).is_none()) {
            let unread = (variables.unread)(environment).into_iter();
            let unread = unread.map(|(variable, instead)| UnusedVariable {
                variable,
                why: instead.to_owned(),
                is_read: false,
            });
            // A registry and a store of rules may be of one kind.
            let is_said = |it: &UnusedVariable| unused.contains(it);
            let unread: Vec<_> = unread.filter(|it| !is_said(it)).collect();
            unused.extend(unread);
        }
    }
    unused
}

/// Whether the table says the same.
fn says(table: &DeTable<'_>, usual: &UsualValue) -> bool {
    let is = |value: &DeValue<'_>, text: &str| matches!(value, DeValue::String(it) if it == text);
    match (at(table, usual.key), &usual.value) {
        (Some(value), Given::Text(text)) => is(value, text),
        (Some(DeValue::Array(list)), Given::List(texts)) => {
            list.len() == texts.len() && list.iter().zip(texts).all(|(value, text)| is(value.get_ref(), text))
        }
        _ => false,
    }
}

/// Registries, or stores of rules, of one kind that do not say where their platform is, though it has only one default place, and are
/// not told apart by what they follow there. Each of them with the key that is missing, and what to know of it.
pub(super) fn of_one_place(table: &DeTable<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (section, kind, variables) in usual_variables() {
        let Some((key, place)) = variables.default_place else { continue };
        let lacking = of_kind(table, section, kind);
        let lacking: Vec<_> = lacking.into_iter().filter(|(_, table)| table.get(key).is_none()).collect();
        for (at, (name, table)) in lacking.iter().enumerate() {
            let follows = |table: &DeTable<'_>| -> Vec<Option<String>> {
                let said = |key: &&str| table.get(*key).map(|value| format!("{:?}", value.get_ref()));
                variables.selects.iter().map(said).collect()
            };
            let same = lacking[..at].iter().find(|(_, other)| follows(other) == follows(table));
            if let Some((other, _)) = same {
                let section = section.key;
                let why =
                    format!("{key} is missing here and in {section}.{other}.{kind}: both follow {place}");
                found.push((join(&format!("{section}.{name}.{kind}"), key), why));
            }
        }
    }
    found
}

/// The table of that kind, and its entry's name, if there is one alone.
fn only<'t, 'i>(table: &'t DeTable<'i>, section: Section, kind: &str) -> Option<(&'t str, &'t DeTable<'i>)> {
    match of_kind(table, section, kind).as_slice() {
        [only] => Some(*only),
        _ => None,
    }
}

/// The tables of that kind, with their entries' names.
fn of_kind<'t, 'i>(table: &'t DeTable<'i>, section: Section, kind: &str) -> Vec<(&'t str, &'t DeTable<'i>)> {
    let inner = |value: &'t Spanned<DeValue<'i>>| match value.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    };
    let entries = table.get(section.key).and_then(inner).into_iter().flatten();
    let of_kind = entries.filter_map(|(name, entry)| {
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
