//! Something between a relay and an API server that spoils what the server says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use pilot_registry_testkit::server::Certificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How much of the server's words passes before they stall: the connection's beginning, a refusal to
/// stream, and a part of the first page.
const STALL_AFTER: usize = 32 << 10;

const NONSENSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 24\r\n\r\n<html>Welcome to Wi-Fi</\n";

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Bytes pass.
    Fair,
    /// New connections get an answer that makes no sense, from somebody with the server's own certificate.
    Garbled,
    /// New connections get the beginning of what the server says, and then nothing until the mood is fair.
    Stalling,
}

/// A TCP proxy that a test can spoil. Its connections end with it.
pub(crate) struct Gate {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    /// How many connections have stalled.
    stalled: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

/// What connections share.
#[derive(Clone)]
struct Shared {
    server: SocketAddr,
    impostor: TlsAcceptor,
    moods: watch::Receiver<Mood>,
    stalled: watch::Sender<usize>,
}

impl Gate {
    pub(crate) async fn to(server: SocketAddr, certificate: &Certificate) -> Result<Self> {
        let chain = vec![CertificateDer::from_pem_file(&certificate.certificate)?];
        let key = PrivateKeyDer::from_pem_file(&certificate.key)?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (mood, stalled) = (watch::Sender::new(Mood::Fair), watch::Sender::new(0));
        let (moods, impostor) = (mood.subscribe(), TlsAcceptor::from(Arc::new(config)));
        let shared = Shared { server, impostor, moods, stalled: stalled.clone() };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => if let Ok((client, _)) = accepted {
                        let shared = shared.clone();
                        connections.spawn(async move {
                            _ = shared.pass(client).await;
                        });
                    },
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, mood, stalled, _tasks: tasks })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Waits until a connection has stalled.
    pub(crate) async fn stalled(&self) {
        let mut stalled = self.stalled.subscribe();
        stalled.wait_for(|count| *count > 0).await.expect("the gate itself keeps the channel");
    }
}

impl Shared {
    async fn pass(mut self, mut client: TcpStream) -> Result<()> {
        _ = client.set_nodelay(true);
        let mood = *self.moods.borrow_and_update();
        if mood == Mood::Garbled {
            return self.talk_nonsense(client).await;
        }
        let upstream = TcpStream::connect(self.server).await?;
        _ = upstream.set_nodelay(true);
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = upstream.into_split();
        let answers = async {
            if mood == Mood::Stalling {
                let mut beginning = [0; 4096];
                let mut passed = 0;
                while passed < STALL_AFTER {
                    let count = from_server.read(&mut beginning).await?;
                    ensure!(count > 0, "the server ended the connection");
                    to_client.write_all(&beginning[..count]).await?;
                    passed += count;
                }
                self.stalled.send_modify(|count| *count += 1);
                self.moods.wait_for(|mood| *mood == Mood::Fair).await?;
            }
            anyhow::Ok(copy(&mut from_server, &mut to_client).await?)
        };
        tokio::select! {
            _ = answers => {}
            _ = copy(&mut from_client, &mut to_server) => {}
        }
        Ok(())
    }

    async fn talk_nonsense(&self, client: TcpStream) -> Result<()> {
        let mut client = self.impostor.accept(client).await?;
        let mut question = [0; 4096];
        _ = client.read(&mut question).await?;
        client.write_all(NONSENSE).await?;
        Ok(client.shutdown().await?)
    }
}
