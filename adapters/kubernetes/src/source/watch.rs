//! One watch: a line of JSON for each event.

use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ErrorKind, RegistryError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout_at};

use super::decode::{Change, Decode, Versioned};
use crate::client::{Content, Refusal, Status};

/// How long the server may take to end a watch after its time. Then it is renewed all the same.
const GRACE: Duration = Duration::from_secs(5);

/// What happened.
#[derive(Debug)]
pub(super) enum Event<E> {
    /// An object changed; the version of the resource since then, if it can be read.
    Changed(Change<E>, Option<String>),
    /// Nothing happened until this version.
    Bookmark { version: String, initial_end: bool },
}

/// What comes next of a watch.
pub(super) enum Next<E> {
    Happened(Event<E>),
    /// It is time for another watch.
    Ended,
    /// The connection broke.
    Broken(RegistryError),
}

/// An open watch.
pub(super) struct Watch {
    what: Arc<str>,
    content: Content,
    most: usize,
    /// When it is renewed.
    until: Instant,
}

/// `WatchEvent` of meta/v1.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// `Status` of a bookmark.
#[derive(Deserialize)]
struct Bookmark {
    metadata: crate::objects::Meta,
}

impl Watch {
    /// A watch whose answer has begun. The server ends it after `lasting`, and a line is at most `most` bytes.
    pub(super) fn new(what: Arc<str>, content: Content, lasting: Duration, most: usize) -> Self {
        Self { what, content, most, until: Instant::now() + lasting + GRACE }
    }

    /// Makes it last that long from now on.
    pub(super) fn lasting(mut self, time: Duration) -> Self {
        self.until = Instant::now() + time;
        self
    }

    /// The next event, or how it ended. Whatever the server says is wrong is an error.
    pub(super) async fn next<D: Decode>(&mut self, decoder: &mut D) -> Result<Next<D::Entry>, Refusal> {
        let line = self.content.line(self.most, self.until + GRACE);
        match timeout_at(self.until, line).await {
            Ok(Ok(Some(line))) => Ok(Next::Happened(self.event(&line, decoder)?)),
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => Ok(Next::Broken(error)),
            Ok(Err(error)) => Err(error.into()),
            // A connection that fell silent is not told from a quiet one. Another one tells.
            Ok(Ok(None)) | Err(_) => Ok(Next::Ended),
        }
    }

    /// The next event of a list that the server is sending.
    pub(super) async fn next_listed<D: Decode>(
        &mut self,
        decoder: &mut D,
    ) -> Result<Event<D::Entry>, Refusal> {
        let what = &self.what;
        match self.content.line(self.most, Content::soon()).await? {
            Some(line) => self.event(&line, decoder),
            None if self.content.has_rest() => {
                Err(RegistryError::malformed(format!("{what}: the answer is no list of events")).into())
            }
            None => Err(RegistryError::unavailable(format!("{what}: the list ended half way")).into()),
        }
    }

    fn event<D: Decode>(&self, line: &[u8], decoder: &mut D) -> Result<Event<D::Entry>, Refusal> {
        let malformed = |error: serde_json::Error| {
            // Its words quote what it read.
            let (line, column) = (error.line(), error.column());
            RegistryError::malformed(format!("{}: an event makes no sense at {line}:{column}", self.what))
        };
        let Line { kind, object } = serde_json::from_slice(line).map_err(malformed)?;
        match kind {
            "ADDED" | "MODIFIED" => {
                let Versioned { listed: (key, entry), version } = decoder.decode(object);
                Ok(Event::Changed(Change::Put(key, entry), version))
            }
            "DELETED" => {
                let Versioned { listed: (key, _), version } = decoder.decode(object);
                Ok(Event::Changed(Change::Gone(key), version))
            }
            "BOOKMARK" => {
                let Bookmark { metadata } = serde_json::from_str(object.get()).map_err(malformed)?;
                let annotations = metadata.annotations.unwrap_or_default();
                let initial_end =
                    annotations.get("k8s.io/initial-events-end").is_some_and(|end| end == "true");
                Ok(Event::Bookmark { version: metadata.resource_version, initial_end })
            }
            "ERROR" => {
                let status: Status = serde_json::from_str(object.get()).map_err(malformed)?;
                Err(status.refusal(&self.what))
            }
            other => {
                let other: String = other.chars().take(20).collect();
                Err(RegistryError::malformed(format!("{}: unknown event {other:?}", self.what)).into())
            }
        }
    }
}
