//! The services that differ between two meshes.

pub(crate) use crate::catalog::{ServiceChange as Change, changes};
