//! From the JSON of one object to what is kept of it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Resource;
use crate::cluster::{Entry, Interner, Node, Pod, Service, Slice};
use crate::objects::{self, Any, Key, Meta};

/// An object of a list: what it is, or why that cannot be said.
pub(super) type Listed<E> = (Key, Result<E, String>);

/// What happened to an object.
#[derive(Debug)]
pub(super) enum Change<E> {
    /// It is that now, or cannot be read.
    Put(Key, Result<E, String>),
    /// It is gone.
    Gone(Key),
}

/// An object and its version, if that can be read.
pub(super) struct Versioned<E> {
    pub(super) listed: Listed<E>,
    pub(super) version: Option<String>,
}

/// Decodes objects of one resource.
pub(super) trait Decode: Send + Sync {
    /// What is kept of one.
    type Entry: Send + Sync;

    /// What it is, or why that cannot be said.
    fn decode(&mut self, object: &RawValue) -> Versioned<Self::Entry>;
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
            Resource::VirtualServices
            | Resource::DestinationRules
            | Resource::ServiceEntries
            | Resource::WorkloadEntries
            | Resource::Gateways => {
                let Any { metadata } = read(text)?;
                (metadata, Err("it is no part of a service".to_owned()))
            }
        })
    }
}

impl Decode for Decoder {
    type Entry = Entry;

    fn decode(&mut self, object: &RawValue) -> Versioned<Entry> {
        match self.entry(object.get()) {
            Ok((meta, entry)) => {
                let version = version(&meta);
                Versioned { listed: (self.key(&meta), entry), version }
            }
            Err(error) => {
                let (meta, why) = unread(object, &error);
                Versioned { version: version(&meta), listed: (self.key(&meta), Err(why)) }
            }
        }
    }
}

/// What can be read of an object that does not parse, and why it does not. Not the error's words: they quote what was
/// read.
pub(super) fn unread(object: &RawValue, error: &serde_json::Error) -> (Meta, String) {
    let why = format!("it does not parse, at column {}: {}", error.column(), category(error));
    let meta = serde_json::from_str::<Any>(object.get()).map(|any| any.metadata).unwrap_or_default();
    let name = if meta.name.is_empty() { "(without a name)".to_owned() } else { meta.name };
    (Meta { name, ..meta }, why)
}

pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

pub(super) fn version(meta: &Meta) -> Option<String> {
    Some(meta.resource_version.clone()).filter(|version| !version.is_empty())
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing or of another type than expected",
        _ => "it is no JSON",
    }
}
