//! Values that come from elsewhere than the file: environment variables and flags.

use std::collections::BTreeMap;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{join, put};
use super::schema::{Scalar, Shape};
use super::walk::nearest;
use super::{Origins, Problem};

/// A value for one key, from a flag or an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What the user wrote it as: `PILOT_PUSH_QUIET`, `--log`.
    pub name: String,
    /// The key: `push.quiet`.
    pub key: String,
    /// The value, without quotation marks.
    pub value: String,
}

impl Setting {
    /// The value of `key`, which the user wrote as `name`.
    pub fn new(name: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), key: key.into(), value: value.into() }
    }
}

/// Variables that the command line reads itself.
const OTHER_VARIABLES: [&str; 2] = ["PILOT_ADMIN", "PILOT_CONFIG"];

/// Short names of keys, as their flags have them. The variable of the key itself wins, being the later one.
const SHORT_NAMES: [(&str, &str); 1] = [("PILOT_LOG", "log.filter")];

/// The keys of all values without parts; those of registries for the registries in the table.
pub(super) fn scalar_keys(schema: &Value, table: &DeTable<'_>) -> Vec<String> {
    let mut keys = Vec::new();
    collect(Shape::new(schema), "", Some(table), &mut keys);
    keys
}

fn collect(shape: Shape<'_>, path: &str, table: Option<&DeTable<'_>>, keys: &mut Vec<String>) {
    if shape.scalar().is_some() {
        keys.push(path.to_owned());
        return;
    }
    let inner = |key: &str| match table?.get(key)?.get_ref() {
        DeValue::Table(table) => Some(table),
        _ => None,
    };
    for (key, shape) in shape.keys() {
        // A table of an entry is a kind of registry or store: naming a key of it would choose it. Tables inside of a
        // kind that is chosen are like any others.
        let is_named = path.starts_with("registry.") || path.starts_with("rules.");
        let is_entry = is_named && path.matches('.').count() == 1;
        let chosen = !is_entry || !shape.is_table() || inner(key).is_some();
        if chosen {
            collect(shape, &join(path, key), inner(key), keys);
        }
    }
    for (name, shape) in
        table.into_iter().flatten().filter_map(|(key, _)| Some((key.get_ref(), shape.any_key()?)))
    {
        collect(shape, &join(path, name), inner(name), keys);
    }
}

/// The environment variable for a key: `PILOT_PUSH_QUIET`.
pub(super) fn variable(key: &str) -> String {
    format!("PILOT_{}", key.replace(['.', '-'], "_").to_uppercase())
}

/// The settings in the environment, and a warning for each variable that looks like one and is none.
pub(super) fn from_environment(
    environment: &BTreeMap<String, String>,
    keys: &[String],
) -> (Vec<Setting>, Vec<Problem>) {
    let short = SHORT_NAMES.iter().map(|(name, key)| ((*name).to_owned(), *key));
    let own = keys.iter().map(|key| (variable(key), key.as_str()));
    let known: BTreeMap<String, &str> = short.chain(own).collect();
    let (mut settings, mut warnings) = (Vec::new(), Vec::new());
    let ours = environment.iter().filter(|(name, _)| name.starts_with("PILOT_"));
    for (name, value) in ours.filter(|(name, _)| !OTHER_VARIABLES.contains(&name.as_str())) {
        match known.get(name) {
            Some(key) => settings.push(Setting::new(name, *key, value)),
            None => {
                let near = nearest(name, known.keys().map(String::as_str).chain(OTHER_VARIABLES));
                let hint = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
                warnings.push(Problem::with_setting(name, format!("unknown variable is ignored{hint}")));
            }
        }
    }
    (settings, warnings)
}

/// Puts the settings into the table, later ones over earlier ones.
pub(super) fn apply<'i>(settings: &'i [Setting], schema: &Value, table: &mut DeTable<'i>, origins: &Origins) {
    for (index, setting) in settings.iter().enumerate() {
        let shape = setting.key.split('.').try_fold(Shape::new(schema), |shape, key| shape.get(key));
        let value = parse(shape.and_then(Shape::scalar), &setting.value);
        put(table, &setting.key, Spanned::new(origins.span_of_setting(index), value));
    }
}

/// A value that is not what it should be stays a string, and is reported as one.
fn parse(scalar: Option<Scalar>, text: &str) -> DeValue<'_> {
    match (scalar, DeValue::parse(text).map(Spanned::into_inner)) {
        (Some(Scalar::Integer), Ok(number @ DeValue::Integer(_))) => number,
        (Some(Scalar::Boolean), Ok(flag @ DeValue::Boolean(_))) => flag,
        _ => DeValue::String(text.into()),
    }
}
