//! Whether a program listens on the port of its instance. A proxy on the same machine takes the port of a service as soon
//! as the service is known, so a program has to have it first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::Plan;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// A machine answers itself in much less.
const PATIENCE: Duration = Duration::from_secs(1);

/// Waits until something listens on the instance's main port, but no longer than the plan says. Whether that is so on
/// another machine, nobody can tell from here.
pub(super) async fn listened_to(plan: &Plan) {
    let at = SocketAddr::new(plan.registration.address, plan.main_port.get());
    let Some(longest) = plan.port_wait.filter(|_| is_own(at.ip())) else { return };
    if longest.is_zero() || is_taken(at).await {
        return;
    }
    tracing::info!(%at, "not registered for up to {longest:?} (--port-wait): nothing listens there");
    let listened = async {
        let mut is_told = false;
        while !is_taken(at).await {
            let own = if is_told { None } else { elsewhere(at).await };
            if let Some(own) = own {
                is_told = true;
                tracing::warn!(
                    %at,
                    "something listens on {own}, and nothing on the address that is registered: if that is the program, \
                     it has to listen on 0.0.0.0, or on that address"
                );
            }
            sleep(PAUSE).await;
        }
    };
    if timeout(longest, listened).await.is_err() {
        tracing::warn!(%at, "registered though nothing listens there after {longest:?} (--port-wait)");
    }
}

/// Says that a program which is about to be started may find its port taken.
pub async fn warn_if_taken(plan: &Plan) {
    let (ip, port) = (plan.registration.address, plan.main_port.get());
    if plan.port_wait.is_none() || !is_own(ip) {
        return;
    }
    for ip in [ip, loopback(ip)] {
        let at = SocketAddr::new(ip, port);
        if is_taken(at).await {
            tracing::warn!(
                %at,
                "something listens there already, and the command may fail to: if it is an Envoy that serves this \
                 service, give the program another port, and say in the registry which port clients call"
            );
            return;
        }
    }
}

fn loopback(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

/// The loopback address of that port, if something listens there.
async fn elsewhere(at: SocketAddr) -> Option<SocketAddr> {
    let own = SocketAddr::new(loopback(at.ip()), at.port());
    (own != at && is_taken(own).await).then_some(own)
}

async fn is_taken(at: SocketAddr) -> bool {
    matches!(timeout(PATIENCE, TcpStream::connect(at)).await, Ok(Ok(_connection)))
}

/// Whether it is an address of this machine: only such can be bound.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind(SocketAddr::new(ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_listens_on_loopback_only_is_found_there() {
        let program = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let own = program.local_addr().unwrap();
        let registered = SocketAddr::new([127, 0, 0, 2].into(), own.port());
        assert_eq!(elsewhere(registered).await, Some(own));
        assert_eq!(elsewhere(own).await, None, "that is where it is registered");
        drop(program);
        assert_eq!(elsewhere(registered).await, None);
    }
}
