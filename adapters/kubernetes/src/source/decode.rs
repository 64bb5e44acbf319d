//! From the JSON of one object to what is kept of it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Resource;
use crate::cluster::{Entry, Interner, Node, Pod, Service, Slice};
use crate::objects::{self, Any, Key, Meta};

/// An object of a list: what it is, or why that cannot be said.
pub(super) type Listed = (Key, Result<Entry, String>);

/// What happened to an object.
#[derive(Debug)]
pub(super) enum Change {
    /// It is that now, or cannot be read.
    Put(Key, Result<Entry, String>),
    /// It is gone.
    Gone(Key),
}

/// An object and its version, if that can be read.
pub(super) struct Versioned {
    pub(super) listed: Listed,
    pub(super) version: Option<String>,
}

/// Decodes objects of one resource, and shares among them what repeats.
#[derive(Debug)]
pub(super) struct Decoder {
    resource: Resource,
    interner: Interner,
}

impl Decoder {
    pub(super) fn new(resource: Resource) -> Self {
        Self { resource, interner: Interner::default() }
    }

    pub(super) fn decode(&mut self, object: &RawValue) -> Versioned {
        match self.entry(object.get()) {
            Ok((meta, entry)) => {
                let version = version(&meta);
                Versioned { listed: (self.key(&meta), entry), version }
            }
            Err(error) => {
                // Not its words: they quote what was read.
                let why = format!("it does not parse, at column {}: {}", error.column(), category(&error));
                let meta =
                    serde_json::from_str::<Any>(object.get()).map(|any| any.metadata).unwrap_or_default();
                let version = version(&meta);
                let name =
                    if meta.name.is_empty() { "(without a name)".to_owned() } else { meta.name.clone() };
                let key = self.key(&Meta { name, ..meta });
                Versioned { listed: (key, Err(why)), version }
            }
        }
    }

    fn key(&mut self, meta: &Meta) -> Key {
        Key { namespace: self.interner.text(&meta.namespace), name: Arc::from(meta.name.as_str()) }
    }

    fn entry(&mut self, text: &str) -> Result<(Meta, Result<Entry, String>), serde_json::Error> {
        let interner = &mut self.interner;
        Ok(match self.resource {
            Resource::Services => {
                let objects::Service { metadata, spec } = read(text)?;
                let entry = Service::new(&metadata, spec);
                (metadata, Ok(Entry::Service(Box::new(entry))))
            }
            Resource::Slices => {
                let mut slice: objects::EndpointSlice = read(text)?;
                let metadata = std::mem::take(&mut slice.metadata);
                let entry = Slice::new(&metadata, slice, interner).map(Entry::Slice);
                (metadata, entry)
            }
            Resource::Pods => {
                let objects::Pod { metadata, spec } = read(text)?;
                let entry = Pod::new(&metadata, spec, interner);
                (metadata, Ok(Entry::Pod(entry)))
            }
            Resource::Nodes => {
                let Any { metadata } = read(text)?;
                let entry = Node::new(&metadata);
                (metadata, Ok(Entry::Node(entry)))
            }
            Resource::Namespaces => {
                let Any { metadata } = read(text)?;
                (metadata, Ok(Entry::Namespace))
            }
        })
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

fn version(meta: &Meta) -> Option<String> {
    Some(meta.resource_version.clone()).filter(|version| !version.is_empty())
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type than expected",
        _ => "it is no JSON",
    }
}
