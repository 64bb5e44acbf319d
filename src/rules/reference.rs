//! Every field of every kind, and what becomes of it: what the documentation says.

use super::Kind;
use super::conform::Shaped;
use super::kinds::{DestinationRule, Gateway, ServiceEntry, VirtualService, WorkloadEntry};
use super::shape::{Shape, Type};

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Support {
    /// It counts.
    Supported,
    /// It counts, and is written otherwise today; a warning says how.
    Old,
    /// It means nothing here, which a warning says.
    Inert,
    /// A document with it is rejected.
    Rejected,
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldReference {
    /// Where it stands: `spec.http[].match[].uri.exact`; `{}` = a key of the author's choice.
    pub path: String,
    /// What becomes of it.
    pub support: Support,
    /// What it is, or what to do instead.
    pub text: String,
}

impl Kind {
    /// All fields that stand under `spec`, in the order of the alphabet. Those inside of a field that is rejected are
    /// rejected with it.
    pub fn fields(self) -> Vec<FieldReference> {
        let shape = match self {
            Self::VirtualService => Shape(VirtualService::shape()),
            Self::DestinationRule => Shape(DestinationRule::shape()),
            Self::ServiceEntry => Shape(ServiceEntry::shape()),
            Self::WorkloadEntry => Shape(WorkloadEntry::shape()),
            Self::Gateway => Shape(Gateway::shape()),
        };
        let mut fields = Vec::new();
        within(shape, "spec", &mut fields);
        fields
    }
}

fn within(shape: Shape<'_>, path: &str, fields: &mut Vec<FieldReference>) {
    for (key, inside) in shape.fields() {
        let suffix = match inside.kind() {
            Some(Type::List) => "[]",
            Some(Type::Map) => "{}",
            _ => "",
        };
        let path = format!("{path}.{key}{suffix}");
        let (support, text) = match (inside.word("x-rejected"), inside.word("x-inert"), inside.word("x-old"))
        {
            (Some(why), _, _) => (Support::Rejected, why),
            (_, Some(why), _) => (Support::Inert, why),
            (_, _, Some(why)) => (Support::Old, why),
            _ => (Support::Supported, inside.word("description").unwrap_or_default()),
        };
        fields.push(FieldReference { path: path.clone(), support, text: text.to_owned() });
        if support == Support::Rejected {
            continue;
        }
        let inside = match inside.kind() {
            Some(Type::List | Type::Map) => inside.item().unwrap_or(inside),
            _ => inside,
        };
        within(inside, &path, fields);
    }
}
