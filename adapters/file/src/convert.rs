//! Converts a document to services, as README.md describes.
//!
//! A document that is no list of services is refused as a whole. Within a list, one bad entry does not affect
//! the others.

mod endpoint;
mod fields;
mod health_check;
mod meant;
mod service;

use std::sync::Arc;

use pilot_registry::{Service, ServiceId};

use crate::document::{Document, Format, LIST, Node, Position, Value};
use crate::problem::Mistake;
use fields::{Mistakes, Table};

/// The only key of a document.
const DOCUMENT_KEYS: &[&str] = &[LIST];

/// One entry of a file: a service, or what is wrong with it.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Where the entry begins, or its host where it has one.
    pub(crate) at: Position,
    /// Its id, where its host can be read whatever else is wrong.
    pub(crate) id: Option<ServiceId>,
    /// The service, or at least one mistake.
    pub(crate) service: Result<Arc<Service>, Vec<Mistake>>,
    /// Endpoints at the address and port of an earlier one: one of both counts.
    pub(crate) doubles: Vec<Mistake>,
}

/// Reads the text of one file.
///
/// # Errors
/// It cannot be parsed, or it is not a list of services.
pub(crate) fn entries(text: &str, format: Format) -> Result<Vec<Entry>, Mistake> {
    if text.trim().is_empty() {
        // A writer that has truncated the file and not yet written it would otherwise remove everything.
        return Err(Mistake::new(Position::START, format!("the file is empty{NO_SERVICE}")));
    }
    let Document { root, entries } = format.parse(text)?;
    if let Value::List(_) = root.value {
        let key = if format == Format::Json { "\"service\":" } else { "service:" };
        return Err(Mistake::new(root.at, format!("the file is a list: write it below the key `{key}`")));
    }
    let mut mistakes = Mistakes::default();
    let table = Table::open(&root, ("the file", "service = []"), DOCUMENT_KEYS, &mut mistakes);
    if let Some(mistake) = mistakes.into_inner().into_iter().next() {
        return Err(without_list(mistake, &root, format));
    }
    let list = table.as_ref().and_then(|table| table.get(LIST));
    let Some(list) = list else {
        return Err(Mistake::new(root.at, format!("the file has no \"service\"{NO_SERVICE}")));
    };
    match &list.value {
        Value::List(_) => Ok(entries),
        other => {
            let mut hints = match (other, format) {
                (Value::Table(_), Format::Toml) => vec!["[[service]]".to_owned()],
                (Value::Table(_), Format::Yaml) => vec!["\"- \" before each service".to_owned()],
                _ => Vec::new(),
            };
            if let Value::Table(fields) = other {
                hints.extend(meant::list(fields, format));
            }
            let hint = if hints.is_empty() { "" } else { ": write " };
            let (found, hints) = (other.kind(), hints.join(", or "));
            let message = format!("service: expected a list of services, found {found}{hint}{hints}");
            Err(Mistake::new(list.at, message))
        }
    }
}

/// An unknown key of a file whose author knows of no list of services.
fn without_list(mistake: Mistake, root: &Node, format: Format) -> Mistake {
    let Value::Table(fields) = &root.value else { return mistake };
    if fields.iter().any(|field| fields::nearest(&field.key, DOCUMENT_KEYS).is_some()) {
        return mistake;
    }
    match (fields.first(), meant::list(fields, format)) {
        (Some(field), Some(list)) => Mistake::new(
            field.at,
            format!("unknown key {:?}: expected the list of services: {list}", field.key),
        ),
        _ => mistake,
    }
}

const NO_SERVICE: &str = ": expected a list \"service\"; a file without services says it is empty: \
                          service = [] in TOML, service: [] in YAML, {\"service\": []} in JSON";

impl From<Node> for Entry {
    fn from(node: Node) -> Self {
        let mut mistakes = Mistakes::default();
        let mut doubles = Mistakes::default();
        let (id, service) = service::service(&node, &mut mistakes, &mut doubles);
        let mistakes = mistakes.into_inner();
        let service = match service {
            Some(service) if mistakes.is_empty() => Ok(Arc::new(service)),
            _ => Err(mistakes),
        };
        let (at, id) = id.map_or((node.at, None), |(at, id)| (at, Some(id)));
        Self { at, id, service, doubles: doubles.into_inner() }
    }
}

#[cfg(test)]
mod tests;
