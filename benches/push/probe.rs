//! Asks `/livez` all the time, as probes do, on a thread of its own: the clients' threads are as busy as the server's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::measure::Samples;
use crate::tally;

/// How long it waits between two questions.
const PAUSE: Duration = Duration::from_millis(5);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A probe that asks until it is ended.
pub(crate) struct Probe {
    asking: JoinHandle<anyhow::Result<Samples>>,
    end: SyncSender<()>,
}

impl Probe {
    /// Begins to ask the server with that admin port.
    pub(crate) fn begin(admin: SocketAddr) -> Self {
        let (end, ended) = sync_channel(0);
        Self { asking: std::thread::spawn(move || ask(admin, &ended)), end }
    }

    /// How long each answer took.
    pub(crate) fn end(self) -> anyhow::Result<Samples> {
        drop(self.end);
        self.asking.join().ok().context("the probe's thread panicked")?
    }
}

fn ask(admin: SocketAddr, ended: &Receiver<()>) -> anyhow::Result<Samples> {
    let mut took = Vec::new();
    while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let asked = tally::now();
        let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("/livez is not answered")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "/livez says {answer}");
        took.push(tally::now().saturating_sub(asked));
    }
    Ok(took.into_iter().collect())
}
