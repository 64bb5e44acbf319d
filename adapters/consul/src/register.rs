//! Registering.
