//! Notice of changes of one file, for whoever reads it himself.

use std::path::PathBuf;
use std::sync::Arc;

use super::RECHECK;
use super::changes::Changes;
use super::watch::{self, Watch};

/// Tells when a file may have changed: its content, the file itself, or what leads to it. Reads nothing.
pub struct Notice {
    path: PathBuf,
    changes: Arc<Changes>,
    watch: Option<Watch>,
}

impl Notice {
    /// Of that file.
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), changes: Arc::default(), watch: None }
    }

    /// Waits until the file may have changed, and whoever writes it is done. The first time it waits for
    /// nothing but the system: what is read after that call is followed from then on. It lasts for ever where the
    /// system gives no notice.
    ///
    /// Who drops the future before it is ready begins anew with the next call.
    pub async fn changed(&mut self) {
        if self.watch.is_some() {
            while !self.changes.settled(RECHECK).await {}
        }
        let (mut watch, path, changes) = (self.watch.take(), self.path.clone(), Arc::clone(&self.changes));
        let armed = tokio::task::spawn_blocking(move || {
            let armed = watch::arm(&mut watch, &path, &changes);
            armed.map(|()| watch)
        });
        match armed.await {
            Ok(Ok(watch)) => self.watch = watch,
            Ok(Err(trouble)) => {
                let problem = trouble.problem.to_string();
                tracing::debug!(problem, "no notice of changes");
                std::future::pending().await
            }
            // The runtime ends.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Less than [`RECHECK`]: it is told, not found.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_file_that_is_written_or_replaced_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (file, new) = (folder.path().join("pilot.toml"), folder.path().join("new"));
        fs::write(&file, "1").unwrap();
        let mut notice = Notice::of(&file);
        timeout(PATIENCE, notice.changed()).await.expect("the first time it waits for nothing");
        fs::write(&file, "2").unwrap();
        timeout(PATIENCE, notice.changed()).await.expect("it is written");
        fs::write(&new, "3").unwrap();
        fs::rename(&new, &file).unwrap();
        timeout(PATIENCE, notice.changed()).await.expect("it is replaced");
        fs::remove_file(&file).unwrap();
        timeout(PATIENCE, notice.changed()).await.expect("it is gone");
    }
}
