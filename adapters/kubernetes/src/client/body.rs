//! Reading answers: whole ones up to a size, endless ones line by line.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use pilot_registry::RegistryError;
use tokio::time::{Instant, timeout_at};

/// How long the next part of an answer that is not endless may take.
const IDLE: Duration = Duration::from_secs(30);

/// The content of an answer.
pub(crate) struct Content {
    what: String,
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to have no end of a line.
    searched: usize,
}

impl Content {
    pub(super) fn new(what: &str, body: Body) -> Self {
        Self { what: what.to_owned(), body, buffer: BytesMut::new(), searched: 0 }
    }

    /// All of it.
    pub(crate) async fn whole(mut self, most: usize) -> Result<Bytes, RegistryError> {
        while let Some(part) = self.part(Instant::now() + IDLE).await? {
            self.take(&part, most)?;
        }
        Ok(self.buffer.freeze())
    }

    /// The next line, without its end, or `None` at an orderly end. It can be cancelled and called again.
    pub(crate) async fn line(&mut self, most: usize, until: Instant) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + at).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() { continue } else { return Ok(Some(line)) }
            }
            self.searched = self.buffer.len();
            match self.part(until).await? {
                Some(part) => self.take(&part, most)?,
                // The beginning of a line is none.
                None => return Ok(None),
            }
        }
    }

    /// Whether something is left that is no line.
    pub(crate) fn has_rest(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// When to give up waiting for a line that is there already.
    pub(crate) fn soon() -> Instant {
        Instant::now() + IDLE
    }

    async fn part(&mut self, until: Instant) -> Result<Option<Bytes>, RegistryError> {
        let what = &self.what;
        let late = |_| RegistryError::unavailable(format!("{what}: the answer stopped half way"));
        match timeout_at(until, self.body.frame()).await.map_err(late)? {
            // Trailers have no data.
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(error)) => {
                Err(RegistryError::unavailable(format!("{what}: the answer broke off")).caused_by(error))
            }
            None => Ok(None),
        }
    }

    fn take(&mut self, part: &Bytes, most: usize) -> Result<(), RegistryError> {
        // In a list of lines, those before the last are taken out first.
        if self.buffer.len() + part.len() > most.saturating_add(MAX_PART) {
            let what = &self.what;
            return Err(RegistryError::malformed(format!("{what}: more than {most} bytes in one piece")));
        }
        self.buffer.extend_from_slice(part);
        Ok(())
    }
}

/// A part may hold many short lines: it alone is never too large.
const MAX_PART: usize = 1 << 20;
