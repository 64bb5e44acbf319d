//! The admin server's own thread: probes are answered while proxies keep all other threads busy.
//!
//! A probe that is not answered within a second or so, three times, makes Kubernetes kill pilot. All proxies would come
//! back to the next one at once, and keep it as busy.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use super::{Admin, serve};
use crate::shutdown::{Shutdown, Trigger, shutdown};

/// The thread, and the way to end it. When this is dropped, it ends without being waited for.
pub(crate) struct AdminThread {
    ends: Trigger,
    ended: oneshot::Receiver<io::Result<()>>,
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Begins to serve.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(listener: TcpListener, admin: Admin) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let (ends, shutdown) = shutdown();
        let (sender, ended) = oneshot::channel();
        let thread = thread::Builder::new().name("pilot-admin".to_owned()).spawn(move || {
            // Whoever waits for it may be gone.
            _ = sender.send(run(listener, admin, &shutdown));
        })?;
        Ok(Self { ends, ended, thread })
    }

    /// Waits until it ends by itself, which it never should.
    pub(crate) async fn broken(&mut self) -> io::Error {
        let ended = (&mut self.ended).await;
        let unknown = || io::Error::other("the admin server's thread ended: this is a bug");
        ended.ok().and_then(Result::err).unwrap_or_else(unknown)
    }

    /// Ends: requests under way are answered, or cut off after a short while.
    pub(crate) async fn end(self) {
        self.ends.begin();
        // It says so with its last breath: joining it takes no time.
        _ = self.ended.await;
        if self.thread.join().is_err() {
            tracing::error!("the admin server's thread panicked: this is a bug");
        }
    }
}

/// Serves until `shutdown` begins.
fn run(listener: std::net::TcpListener, admin: Admin, shutdown: &Shutdown) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        serve(listener, admin, shutdown.begun()).await;
        Ok(())
    });
    // A large answer may still be written, for nobody.
    runtime.shutdown_background();
    served
}
