//! A DNS server that knows one address, whatever name it is asked for.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// This address, for so many seconds.
    Address(Ipv4Addr, u32),
    /// That something is wrong with the server.
    Failure,
}

/// A server that runs until it is dropped.
pub(crate) struct Resolver {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicU64>,
    _answering: JoinSet<()>,
}

const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

impl Resolver {
    pub(crate) async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (says, asked) = (Arc::new(Mutex::new(says)), Arc::<AtomicU64>::default());
        let mut answering = JoinSet::new();
        let (now, count) = (Arc::clone(&says), Arc::clone(&asked));
        answering.spawn(async move {
            let mut question = vec![0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let says = *now.lock();
                if let Some(answer) = answer(&question[..length], says, &count) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Self { address, says, asked, _answering: answering }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it answers so.
    pub(crate) fn say(&self, says: Says) {
        *self.says.lock() = says;
    }

    /// How often it was asked for IPv4 addresses.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

/// RFC 1035, section 4: the question, and at most one record. `None` = it is no question.
fn answer(question: &[u8], says: Says, asked: &AtomicU64) -> Option<Vec<u8>> {
    let name = question.get(HEADER..)?.iter().position(|byte| *byte == 0)?;
    let end = HEADER + name + 1 + 4;
    let kind = question.get(end - 4..end - 2)?;
    if kind == TYPE_A {
        asked.fetch_add(1, Ordering::Relaxed);
    }
    let (code, records) = match says {
        Says::Failure => (2, None),
        Says::Address(address, ttl) => (0, (kind == TYPE_A).then_some((address, ttl))),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(records.is_some()), 0, 0, 0, 0]);
    answer.extend(&question[HEADER..end]);
    if let Some((address, ttl)) = records {
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
