//! The documents of a store that were in force last, on disk: read once at the start, and written beside the taking in.
//! A disk that is slow, or hangs, holds up nothing else.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use super::{Rulebook, Shown};
use crate::rules::{SavedRules, Versions};

/// A disk has so long to give the file before pilot goes on without it. Far more than a healthy one needs.
const READ_MAX: Duration = Duration::from_secs(5);
/// What could not be written is tried again after this time.
const RETRY: Duration = Duration::from_secs(10);

/// How keeping a store on disk goes.
#[derive(Default)]
pub(super) struct Disk {
    /// What is there, as far as it is known. Locked for as long as something is being written.
    pub(super) saved: tokio::sync::Mutex<Option<Versions>>,
    /// What went wrong last, and has not gone right since.
    error: Mutex<Option<String>>,
}

impl Disk {
    /// What is wrong with it.
    pub(super) fn error(&self) -> Option<String> {
        self.error.lock().clone()
    }
}

impl Rulebook {
    /// Reads what an earlier pilot left.
    pub(super) async fn load(&self) {
        join_all((0..self.stores.len()).map(|at| self.load_store(at))).await;
    }

    async fn load_store(&self, at: usize) {
        let Some(save) = self.stores[at].policy.save.clone() else { return };
        let (store, path) = (&*self.stores[at].name, save.path());
        let loading = tokio::task::spawn_blocking(move || save.load());
        let Ok(loaded) = timeout(READ_MAX, loading).await else {
            tracing::error!(store, path = %path.display(), "the disk is slow: rules on disk are not used");
            return;
        };
        match loaded.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(None) => {}
            Ok(Some(left)) => {
                let by_id = left.iter().map(|version| (version.id.clone(), Arc::clone(version)));
                *self.disks[at].saved.lock().await = Some(by_id.collect());
                self.shelves.lock().of_stores[at].resume(left);
            }
            Err(error) => {
                tracing::error!(store, path = %path.display(), %error, "rules on disk are not used");
                *self.disks[at].error.lock() = Some(format!("{}: {error}", path.display()));
            }
        }
    }

    /// Writes what is in force whenever it is something else than before, for ever. What changes while something is being
    /// written is written together.
    pub(super) async fn keep_saved(&self) {
        join_all((0..self.stores.len()).map(|at| self.keep_store_saved(at))).await;
    }

    async fn keep_store_saved(&self, at: usize) -> Infallible {
        let Some(save) = &self.stores[at].policy.save else { return std::future::pending().await };
        let mut shown = self.subscribe();
        loop {
            let saved = self.disks[at].saved.lock().await.clone();
            let is_new = |shown: &Shown| {
                let said = shown.of_stores[at].said.as_ref();
                said.is_some_and(|said| !saved.as_ref().is_some_and(|saved| saved.ptr_eq(said)))
            };
            // The rulebook outlives this.
            _ = shown.wait_for(is_new).await;
            if !self.save(at, save).await {
                sleep(RETRY).await;
            }
        }
    }

    /// Writes what is not on disk yet, for the end.
    pub(in crate::world) async fn flush(&self) {
        let stores = self.stores.iter().enumerate();
        let stores = stores.filter_map(|(at, store)| Some((at, store.policy.save.as_ref()?)));
        join_all(stores.map(|(at, save)| self.save(at, save))).await;
    }

    /// Writes what is in force of what a store said. Says whether it is on disk.
    async fn save(&self, at: usize, save: &SavedRules) -> bool {
        let mut saved = self.disks[at].saved.lock().await;
        let Some(said) = self.shown.borrow().of_stores[at].said.clone() else { return true };
        if saved.as_ref().is_some_and(|saved| saved.ptr_eq(&said) || *saved == said) {
            *saved = Some(said);
            return true;
        }
        let (to, versions) = (save.clone(), said.clone());
        let written = tokio::task::spawn_blocking(move || to.save(&versions)).await;
        let error = match written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        let mut known = self.disks[at].error.lock();
        if let Some(error) = error.as_ref().filter(|_| *known != error) {
            let (store, path) = (&*self.stores[at].name, save.path());
            tracing::error!(store, path = %path.display(), error, "rules cannot be kept on disk");
        }
        *known = error;
        if known.is_none() {
            *saved = Some(said);
        }
        known.is_none()
    }
}
