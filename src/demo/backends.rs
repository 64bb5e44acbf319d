//! The running backends. They follow the scene.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::backend;
use super::scene::Role;

/// A backend whose endpoint is gone stays for so long: until every proxy has heard of it.
const LINGER: Duration = Duration::from_secs(3);

/// All backends. They end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct Backends {
    open: BTreeMap<SocketAddr, Open>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Open {
    role: watch::Sender<Role>,
    task: AbortHandle,
    /// When it is to be closed, if it is.
    closes: Option<Instant>,
}

impl Backends {
    /// Opens those that are missing, at once, and closes those that are not wanted any more, after a
    /// while. Tells of which it could not open.
    pub(super) async fn follow(&mut self, wanted: &BTreeMap<SocketAddr, Role>) -> Vec<String> {
        let closes = Instant::now() + LINGER;
        for (at, open) in &mut self.open {
            match wanted.get(at) {
                Some(role) => {
                    open.closes = None;
                    open.role.send_replace(role.clone());
                }
                None => open.closes = open.closes.or(Some(closes)),
            }
        }
        let mut notes = Vec::new();
        for (at, role) in wanted {
            if !self.open.contains_key(at)
                && let Err(note) = self.open(*at, role).await
            {
                notes.push(note);
            }
        }
        notes
    }

    async fn open(&mut self, at: SocketAddr, role: &Role) -> Result<(), String> {
        let listener = TcpListener::bind(at).await.map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => format!("{at} is in use: what listens there answers, not the demo"),
            _ => format!("{at}: no backend can be started: {error}"),
        })?;
        let (sender, receiver) = watch::channel(role.clone());
        let task = self.tasks.spawn(backend::serve(listener, receiver));
        self.open.insert(at, Open { role: sender, task, closes: None });
        Ok(())
    }

    /// Waits until the next one is to be closed, and closes it. For ever when none is.
    pub(super) async fn close_next(&mut self) {
        let next = self.open.iter().filter_map(|(at, open)| Some((open.closes?, *at))).min();
        let Some((when, at)) = next else { return std::future::pending().await };
        sleep_until(when).await;
        if let Some(open) = self.open.remove(&at) {
            open.task.abort();
        }
        while self.tasks.try_join_next().is_some() {}
    }
}
