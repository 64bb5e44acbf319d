//! Mesh and scope -> resources.

use crate::mesh::Mesh;
use crate::proxy::Scope;
use crate::resources::Types;

/// Translates for one scope.
pub struct Translator(Scope);

/// What came out.
pub struct Translation {
    /// The resources.
    pub types: Types,
    /// The conflicts.
    pub conflicts: Vec<Conflict>,
}

/// Two claims.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Conflict;

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "conflict")
    }
}

impl Translator {
    /// For one scope.
    pub fn new(scope: Scope) -> Self {
        Self(scope)
    }

    /// Translates.
    pub fn translate(&mut self, _mesh: &Mesh) -> Translation {
        let _ = &self.0;
        Translation { types: Types::default(), conflicts: Vec::new() }
    }
}
