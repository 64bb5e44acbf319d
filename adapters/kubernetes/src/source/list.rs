//! Lists all objects of one resource: as a stream where the server supports it, in pages otherwise.

use std::time::Duration;

use pilot_registry::RegistryError;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::decode::{Change, Decode, Listed};
use super::follow::Follower;
use super::watch::{Event, Watch};
use crate::client::Refusal;

/// How long the server is asked to keep a watch that begins with a list.
const LIST_MAX: Duration = Duration::from_secs(600);

/// `List` of meta/v1, its items apart: one that makes no sense is no reason to lose the others.
#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMeta,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// `ListMeta` of meta/v1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: Option<String>,
}

impl<D: Decode> Follower<D> {
    /// All objects, their version, and the watch that goes on from there if it is open already.
    pub(super) async fn list(&mut self) -> Result<(Vec<Listed<D::Entry>>, String, Option<Watch>), Refusal> {
        if !self.pages {
            match self.streamed().await {
                // 500 is what a server says whose etcd cannot report progress (before 3.4.31 and 3.5.13). If
                // it is in trouble beyond that, it says so again.
                Err(Refusal::Unsupported | Refusal::Internal(_)) => self.pages = true,
                other => return other,
            }
        }
        let (listed, version) = self.paged().await?;
        Ok((listed, version, None))
    }

    async fn streamed(&mut self) -> Result<(Vec<Listed<D::Entry>>, String, Option<Watch>), Refusal> {
        let parameters = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")];
        let mut watch = self.watch(LIST_MAX, &parameters).await?;
        let mut listed = Vec::new();
        loop {
            match watch.next_listed(&mut self.decoder).await? {
                Event::Changed(Change::Put(key, entry), _) => listed.push((key, entry)),
                Event::Changed(Change::Gone(key), _) => listed.retain(|(listed, _)| *listed != key),
                Event::Bookmark { version, initial_end: true } => {
                    let watch = watch.lasting(self.config.watch_renewal);
                    return Ok((listed, self.versioned(version)?, Some(watch)));
                }
                Event::Bookmark { .. } => {}
            }
            self.bounded(listed.len())?;
        }
    }

    async fn paged(&mut self) -> Result<(Vec<Listed<D::Entry>>, String), Refusal> {
        let what = format!("list {}", self.scope);
        let limit = self.config.page_size.to_string();
        let (mut listed, mut next) = (Vec::new(), String::new());
        loop {
            let pages = [("limit", limit.as_str()), ("continue", next.as_str())];
            let path = self.scope.path(if next.is_empty() { &pages[..1] } else { &pages });
            let content = self.client.get(&what, &path, self.scope.accept_list()).await?;
            let page = content.whole(self.config.max_page_bytes).await?;
            let List { metadata, items } = serde_json::from_slice(&page).map_err(|error| {
                // Its words quote what it read.
                let (line, column) = (error.line(), error.column());
                RegistryError::malformed(format!("{what}: the answer is no list, at {line}:{column}"))
            })?;
            listed.extend(items.iter().flatten().map(|item| self.decoder.decode(item).listed));
            self.bounded(listed.len())?;
            next = metadata.next.unwrap_or_default();
            if next.is_empty() {
                return Ok((listed, self.versioned(metadata.resource_version)?));
            }
        }
    }

    fn bounded(&self, count: usize) -> Result<(), RegistryError> {
        let most = self.config.max_objects;
        if count <= most {
            return Ok(());
        }
        let message = format!("list {}: there are more than max_objects = {most}", self.scope);
        Err(RegistryError::malformed(message))
    }

    /// A list without a version cannot be followed.
    fn versioned(&self, version: String) -> Result<String, RegistryError> {
        match version.is_empty() {
            true => Err(RegistryError::malformed(format!("list {}: the list has no version", self.scope))),
            false => Ok(version),
        }
    }
}
