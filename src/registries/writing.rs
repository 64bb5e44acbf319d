//! The registry that is written to, chosen among those of pilot.toml.

use std::sync::Arc;

use pilot_registry::Registrar;

use super::{entries, refused, writable_kinds, writer};
use crate::config::{Loaded, Problem, Problems, RegistryKind};

/// A registry of pilot.toml that can be written to.
pub struct ConfiguredRegistrar {
    /// Its name in pilot.toml.
    pub name: Arc<str>,
    /// What kind it is: `etcd`.
    pub kind: &'static str,
    /// Its writing side.
    pub registrar: Box<dyn Registrar>,
}

impl std::fmt::Debug for ConfiguredRegistrar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, kind, registrar: _ } = self;
        write!(f, "ConfiguredRegistrar({name}, {kind})")
    }
}

/// Makes the writing side of the registry of that name, or of the only one that can be written to. Does no
/// IO.
///
/// # Errors
/// There is none of that name, it cannot be written to, several can, or the adapter refuses its table.
pub fn registrar(loaded: &Loaded, name: Option<&str>) -> Result<ConfiguredRegistrar, Problems> {
    let (name, kind) = match name {
        Some(name) => named(loaded, name)?,
        None => only(loaded)?,
    };
    match writer(&kind) {
        None => {
            let kind = kind.as_str();
            Err(fault(format!("{name} is of kind {kind}, which cannot be written to; {}", writable(loaded))))
        }
        Some(Err(error)) => Err(refused(loaded, name, &kind, &error).into()),
        Some(Ok(registrar)) => Ok(ConfiguredRegistrar { name: name.into(), kind: kind.as_str(), registrar }),
    }
}

/// What is expected of pilot.toml by those who write: "expected one of kind etcd, like ...".
pub fn expected_to_write() -> String {
    let (kinds, lines): (Vec<_>, Vec<_>) = writable_kinds().into_iter().unzip();
    format!("expected one of kind {}, like {}", kinds.join(" or "), lines.join(" or "))
}

fn named<'a>(loaded: &'a Loaded, wanted: &str) -> Result<(&'a str, RegistryKind<'a>), Problems> {
    let found = entries(loaded).find(|(name, ..)| *name == wanted);
    let (name, _, kind) =
        found.ok_or_else(|| fault(format!("there is no [registry.{wanted}]; {}", writable(loaded))))?;
    Ok((name, kind))
}

fn only(loaded: &Loaded) -> Result<(&str, RegistryKind<'_>), Problems> {
    let mut writers = writers(loaded);
    match (writers.next(), writers.next()) {
        (Some(writer), None) => Ok(writer),
        (Some(_), Some(_)) => Err(fault(format!("several could be meant; {}", writable(loaded)))),
        (None, _) => {
            Err(fault(format!("no registry of pilot.toml can be written to: {}", expected_to_write())))
        }
    }
}

fn writers(loaded: &Loaded) -> impl Iterator<Item = (&str, RegistryKind<'_>)> {
    entries(loaded).filter(|(_, _, kind)| writer(kind).is_some()).map(|(name, _, kind)| (name, kind))
}

/// What could have been named instead.
fn writable(loaded: &Loaded) -> String {
    let names: Vec<&str> = writers(loaded).map(|(name, _)| name).collect();
    let names = if names.is_empty() { "none".into() } else { names.join(", ") };
    format!("those that can be written to: {names}")
}

fn fault(message: String) -> Problems {
    Problem::with_setting("--registry", message).into()
}
