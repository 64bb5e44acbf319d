//! A whole pilot that follows the cluster, until it is ready.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::Process;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The process, which ends when this is dropped.
struct Pilot(Child);

impl Drop for Pilot {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Starts `pilot serve`, waits until `/readyz` says that it is, and ends it. Says how long that took.
pub(crate) fn start(binary: &Path, kubeconfig: &Path) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (xds, admin) = (free(), free());
    let config = format!(
        "[registry.cluster.kubernetes]\nkubeconfig = {kubeconfig:?}\n[xds]\nlisten = \"{xds}\"\n\
         [admin]\nlisten = \"{admin}\"\n"
    );
    let path = folder.path().join("pilot.toml");
    fs::write(&path, config).unwrap();
    let began = Instant::now();
    let mut command = Command::new(binary);
    command.args(["serve", "--config"]).arg(&path).stdin(Stdio::null()).stderr(Stdio::null());
    let pilot = Pilot(command.spawn().unwrap());
    while !is_ready(admin) {
        assert!(began.elapsed() < PATIENCE, "pilot is not ready within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (took, process) = (began.elapsed(), Process::of(pilot.0.id()));
    format!("ready after {took:.2?}, CPU {:?}, {} MiB resident", process.cpu(), process.resident() >> 20)
}

fn free() -> SocketAddr {
    pilot_registry_testkit::server::free_address().unwrap()
}

fn is_ready(admin: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(admin)?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}
