//! Rules of the mapping.
