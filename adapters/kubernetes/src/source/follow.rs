//! Following one resource: list, watch from there on, list again when the history is lost.
//!
//! A watch that ends in order, or whose connection breaks once, is resumed where it was. If it cannot be
//! resumed in two tries, the attempt ends. A resource that services can do without is an exception: it is
//! asked for again after a while, as long as the server answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use pilot_registry::{ErrorKind, Following, RegistryError};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::Scope;
use super::decode::{Change, Decode, Listed};
use super::watch::{Event, Next, Watch};
use crate::Config;
use crate::client::{Client, Refusal};

/// How soon what services can do without is asked for again: servers learn of permissions a moment after they
/// were written. Each time it is longer, up to the most.
const RECHECK: Duration = Duration::from_secs(1);
const RECHECK_MOST: Duration = Duration::from_secs(30);
/// A watch that ends sooner than this, without anything having happened, was refused in fact.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What a follower tells the publisher. The number is its scope's.
#[derive(Debug)]
pub(super) enum Update<E> {
    /// This is all there is.
    Listed(usize, Vec<Listed<E>>),
    /// One object changed.
    Changed(usize, Change<E>),
    /// Nothing happened since.
    Checked(usize),
    /// It cannot be read: for good (for now), or until it is listed anew.
    Trouble { at: usize, error: RegistryError, known: bool },
}

/// How a watch ended that the next one goes on from.
#[derive(Clone, Copy, PartialEq)]
enum End {
    InOrder,
    /// The connection broke.
    Broken,
}

/// Follows one scope.
pub(super) struct Follower<D: Decode> {
    at: usize,
    pub(super) scope: Scope,
    pub(super) client: Client,
    pub(super) config: Arc<Config>,
    pub(super) decoder: D,
    /// Whether the server has refused to list by streaming.
    pub(super) pages: bool,
    updates: Sender<Update<D::Entry>>,
    /// What is shown of it.
    following: Following,
}

impl<D: Decode> Follower<D> {
    pub(super) fn new(
        at: usize,
        (scope, decoder): (Scope, D),
        client: Client,
        config: &Arc<Config>,
        updates: Sender<Update<D::Entry>>,
        following: Following,
    ) -> Self {
        Self { at, scope, client, config: Arc::clone(config), decoder, pages: false, updates, following }
    }

    /// Runs until something is wrong that is not cured here.
    pub(super) async fn run(mut self) -> Result<Infallible, RegistryError> {
        let ended = self.follow_for_ever().await;
        ended.inspect_err(|error| self.following.failed(error))
    }

    async fn follow_for_ever(&mut self) -> Result<Infallible, RegistryError> {
        let mut recheck = RECHECK;
        loop {
            let (began, mut followed) = (Instant::now(), false);
            let Err(refusal) = self.follow(&mut followed).await;
            let (at, scope) = (self.at, &self.scope);
            let error = match refusal {
                Refusal::Expired if followed => {
                    let error = RegistryError::unavailable(format!("{scope}: the history is lost"));
                    self.tell(Update::Trouble { at, error, known: false }).await;
                    continue;
                }
                // Over and over again: not at once.
                Refusal::Expired => {
                    RegistryError::unavailable(format!("{scope}: the history was lost while listing"))
                }
                Refusal::Unsupported => {
                    let message = format!("{scope}: the server refuses to list and to watch them (422)");
                    RegistryError::malformed(message)
                }
                Refusal::OutOfReach(error) => return Err(error),
                Refusal::Forbidden(error)
                | Refusal::Internal(error)
                | Refusal::Missing(error)
                | Refusal::Failed(error) => error,
            };
            if !scope.resource.is_optional() {
                return Err(error);
            }
            if began.elapsed() > RECHECK_MOST {
                recheck = RECHECK;
            }
            // What may be over in a moment is tried twice before services are told without it.
            let known = error.kind() == ErrorKind::Denied || recheck > RECHECK;
            self.tell(Update::Trouble { at, error: self.left_out(&error), known }).await;
            sleep(recheck).await;
            recheck = (recheck * 2).min(RECHECK_MOST);
        }
    }

    async fn follow(&mut self, followed: &mut bool) -> Result<Infallible, Refusal> {
        self.following.listing();
        let (listed, mut version, mut watch) = self.list().await?;
        self.tell(Update::Listed(self.at, listed)).await;
        let mut end = End::InOrder;
        loop {
            let mut open = match watch.take() {
                Some(watch) => watch,
                None => self.resume(&version, end).await?,
            };
            self.following.watching();
            // The server still has this version.
            self.tell(Update::Checked(self.at)).await;
            end = self.hear(&mut open, &mut version, followed).await?;
        }
    }

    /// Opens the next watch. If the last one broke, the pooled connection may be dead too, so the request is
    /// tried twice.
    async fn resume(&self, version: &str, end: End) -> Result<Watch, Refusal> {
        match self.watch_from(version).await {
            Err(Refusal::OutOfReach(error))
                if end == End::Broken && error.kind() == ErrorKind::Unavailable =>
            {
                self.following.failed(&error);
                self.watch_from(version).await
            }
            opened => opened,
        }
    }

    async fn watch_from(&self, version: &str) -> Result<Watch, Refusal> {
        self.watch(self.config.watch_renewal, &[("resourceVersion", version)]).await
    }

    /// Asks for a watch that lasts that long.
    pub(super) async fn watch(
        &self,
        lasting: Duration,
        parameters: &[(&str, &str)],
    ) -> Result<Watch, Refusal> {
        let what: Arc<str> = format!("watch {}", self.scope).into();
        let timeout = lasting.as_secs().to_string();
        let always =
            [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", timeout.as_str())];
        let path = self.scope.path(&[&always, parameters].concat());
        let content = self.client.get(&what, &path, self.scope.accept_watch()).await?;
        Ok(Watch::new(what, content, lasting, self.config.max_object_bytes))
    }

    /// Takes what a watch says until it ends. A connection may break for itself, as when one of several servers
    /// is stopped: whether there is more to it shows when the next watch is asked for. What the server itself
    /// says is wrong is another matter: it may be asked for too much already.
    async fn hear(
        &mut self,
        watch: &mut Watch,
        version: &mut String,
        followed: &mut bool,
    ) -> Result<End, Refusal> {
        let (opened, mut heard) = (Instant::now(), false);
        loop {
            let next = watch.next(&mut self.decoder).await;
            let lasted = opened.elapsed() >= AT_ONCE;
            *followed |= lasted;
            match next? {
                Next::Happened(event) => {
                    (*followed, heard) = (true, true);
                    self.following.heard();
                    self.take(event, version).await;
                }
                Next::Ended if lasted || heard => return Ok(End::InOrder),
                Next::Ended => {
                    let message = format!("watch {}: the watch ended as soon as it began", self.scope);
                    return Err(RegistryError::unavailable(message).into());
                }
                Next::Broken(error) if lasted => {
                    self.following.failed(&error);
                    return Ok(End::Broken);
                }
                Next::Broken(error) => return Err(Refusal::OutOfReach(error)),
            }
        }
    }

    async fn take(&self, event: Event<D::Entry>, version: &mut String) {
        let update = match event {
            Event::Changed(change, now) => {
                *version = now.unwrap_or(std::mem::take(version));
                Update::Changed(self.at, change)
            }
            Event::Bookmark { version: now, .. } => {
                *version = now;
                Update::Checked(self.at)
            }
        };
        self.tell(update).await;
    }

    async fn tell(&self, update: Update<D::Entry>) {
        if let Update::Trouble { error, .. } = &update {
            self.following.failed(error);
        }
        // The publisher ends with this future.
        _ = self.updates.send(update).await;
    }

    fn left_out(&self, error: &RegistryError) -> RegistryError {
        let needed = match error.kind() {
            ErrorKind::Denied => " (verbs list and watch are needed)",
            _ => "",
        };
        let said = format!("services are told without {}{needed}", self.scope);
        RegistryError::new(error.kind(), said).caused_by(error.clone())
    }
}
