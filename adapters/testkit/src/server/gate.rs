//! A proxy in front of a server that can corrupt its answers.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Acceptor, Certificate};

/// What becomes of new connections through a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Bytes pass.
    Fair,
    /// An answer that makes no sense comes instead of the server's.
    Garbled,
    /// The beginning of what the server says passes, and then nothing until the mood is fair.
    Stalling,
}

/// How a [`Gate`] spoils what the server says.
#[derive(Clone, Copy, Debug)]
pub struct Spoiling<'a> {
    /// The answer that makes no sense, as it is sent: an HTTP message, with its head.
    pub nonsense: &'static [u8],
    /// Whoever gives it has this certificate. Where there is none, it is given without TLS.
    pub certificate: Option<&'a Certificate>,
    /// How many of the server's bytes pass at least before it stalls: the connection's beginning, and a part of
    /// the first list.
    pub stall_after: usize,
}

/// A TCP proxy in front of a server, which garbles or stalls new connections when a test says so. Those that are
/// open go on. Its connections end with it.
#[derive(Debug)]
pub struct Gate {
    acceptor: Acceptor,
    mood: watch::Sender<Mood>,
    /// How many connections have stalled and are open.
    stalled: watch::Sender<usize>,
}

/// What connections share.
#[derive(Clone)]
struct Shared {
    server: SocketAddr,
    nonsense: &'static [u8],
    impostor: Option<TlsAcceptor>,
    stall_after: usize,
    moods: watch::Receiver<Mood>,
    stalled: watch::Sender<usize>,
}

impl Gate {
    /// A gate to `server`, on a loopback port of its own.
    ///
    /// # Errors
    /// The system has no port left, or the certificate cannot be read.
    pub async fn to(server: SocketAddr, spoiling: Spoiling<'_>) -> Result<Self> {
        let Spoiling { nonsense, certificate, stall_after } = spoiling;
        let impostor = certificate.map(impostor).transpose()?;
        let (mood, stalled) = (watch::Sender::new(Mood::Fair), watch::Sender::new(0));
        let (moods, counted) = (mood.subscribe(), stalled.clone());
        let shared = Shared { server, nonsense, impostor, stall_after, moods, stalled: counted };
        let acceptor = Acceptor::start(move |client| {
            let shared = shared.clone();
            async move { _ = shared.pass(client).await }
        });
        Ok(Self { acceptor: acceptor.await?, mood, stalled })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.acceptor.address()
    }

    /// Answers new connections with nonsense.
    pub fn garble(&self) {
        self.mood.send_replace(Mood::Garbled);
    }

    /// Lets only the beginning of what the server says pass on new connections.
    pub fn stall(&self) {
        self.mood.send_replace(Mood::Stalling);
    }

    /// Lets everything pass, also the rest of what has stalled.
    pub fn mend(&self) {
        self.mood.send_replace(Mood::Fair);
    }

    /// Waits until there is a connection that has stalled.
    pub async fn stalled(&self) {
        let mut stalled = self.stalled.subscribe();
        stalled.wait_for(|count| *count > 0).await.expect("the gate itself keeps the channel");
    }
}

fn impostor(certificate: &Certificate) -> Result<TlsAcceptor> {
    let chain = vec![CertificateDer::from_pem_file(&certificate.certificate)?];
    let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// A connection that has stalled, for as long as it is there.
struct Stalled<'a>(&'a watch::Sender<usize>);

impl<'a> Stalled<'a> {
    fn count(all: &'a watch::Sender<usize>) -> Self {
        all.send_modify(|count| *count += 1);
        Self(all)
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Shared {
    async fn pass(mut self, mut client: TcpStream) -> Result<()> {
        let mood = *self.moods.borrow_and_update();
        if mood == Mood::Garbled {
            return match &self.impostor {
                Some(impostor) => self.talk_nonsense(impostor.accept(client).await?).await,
                None => self.talk_nonsense(client).await,
            };
        }
        let upstream = TcpStream::connect(self.server).await?;
        _ = upstream.set_nodelay(true);
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.into_split();
        let answers = async {
            if mood == Mood::Stalling {
                self.stall(&mut from_server, &mut to_client).await?;
            }
            anyhow::Ok(copy(&mut from_server, &mut to_client).await?)
        };
        tokio::select! {
            _ = answers => {}
            _ = copy(&mut from_client, &mut to_server) => {}
        }
        Ok(())
    }

    /// Lets the beginning pass, then nothing until the mood is fair.
    async fn stall(
        &mut self,
        from_server: &mut (impl AsyncRead + Unpin),
        to_client: &mut (impl AsyncWrite + Unpin),
    ) -> Result<()> {
        let (mut beginning, mut passed) = ([0; 4096], 0);
        while passed < self.stall_after {
            let count = from_server.read(&mut beginning).await?;
            ensure!(count > 0, "the server ended the connection");
            to_client.write_all(&beginning[..count]).await?;
            passed += count;
        }
        let _counted = Stalled::count(&self.stalled);
        self.moods.wait_for(|mood| *mood == Mood::Fair).await?;
        Ok(())
    }

    async fn talk_nonsense(&self, mut client: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
        let mut question = [0; 4096];
        _ = client.read(&mut question).await?;
        client.write_all(self.nonsense).await?;
        Ok(client.shutdown().await?)
    }
}
