//! gRPC's own xDS clients and a gRPC server: clients that share no code with Envoy, nor with each other.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tokio::task::block_in_place;

use super::bootstrap;
use super::pilot::Pilot;
use super::services::Place;

/// A process that is spoken to in lines. It ends when this is dropped.
struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    fn read(&mut self) -> String {
        let mut line = String::new();
        // Ends at the latest when the process does; each call that it makes has a time limit.
        let length = block_in_place(|| self.output.read_line(&mut line)).unwrap();
        assert!(length > 0, "the process ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gRPC server that answers with its name.
pub(crate) struct GrpcBackend {
    _peer: Peer,
    port: u16,
}

impl GrpcBackend {
    pub(crate) fn start(python: &Path, name: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_backend.py");
        let mut peer = Peer::spawn(Command::new(python).args([script, name]));
        let port = peer.read().parse().unwrap();
        Self { _peer: peer, port }
    }

    /// Where it is, for a services file.
    pub(crate) fn place(&self) -> Place {
        Place::at(&self.socket().to_string())
    }

    /// Where it is.
    pub(crate) fn socket(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

/// A gRPC client with one channel, which gets what it knows of its target from pilot.
pub(crate) struct GrpcClient(Peer);

impl GrpcClient {
    /// `target`: for example `xds:///echo.local:50051`.
    pub(crate) fn start(python: &Path, pilot: &Pilot, target: &str) -> Self {
        Self::start_with(python, pilot, target, &[])
    }

    /// The same, with further arguments for `pilot bootstrap`.
    pub(crate) fn start_with(python: &Path, pilot: &Pilot, target: &str, more: &[&str]) -> Self {
        Self::start_as(python, pilot, target, &bootstrap::grpc(pilot, more))
    }

    /// The same, with that bootstrap.
    pub(crate) fn start_as(python: &Path, pilot: &Pilot, target: &str, bootstrap: &Value) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_client.py");
        Self::spawn(Command::new(python).args([script, target]), pilot, bootstrap)
    }

    /// The client of Node.js instead, with its packages.
    pub(crate) fn start_node(packages: &Path, pilot: &Pilot, target: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/grpc_client.js");
        let mut command = Command::new("node");
        command.args([script, target]).env("NODE_PATH", packages);
        Self::spawn(&mut command, pilot, &bootstrap::grpc(pilot, &[]))
    }

    fn spawn(command: &mut Command, pilot: &Pilot, bootstrap: &Value) -> Self {
        let file = pilot.folder().join("grpc.json");
        fs::write(&file, bootstrap.to_string()).unwrap();
        command.env("GRPC_XDS_BOOTSTRAP", file);
        // It would write into the test's output that the service which the test has removed is gone.
        command.env("GRPC_VERBOSITY", "NONE");
        Self(Peer::spawn(command))
    }

    /// One call: the name of the backend that answered, or why none did.
    pub(crate) fn call(&mut self) -> Result<String, String> {
        self.call_with("")
    }

    /// The same, with metadata: `key=value`, with spaces between.
    pub(crate) fn call_with(&mut self, metadata: &str) -> Result<String, String> {
        writeln!(self.0.input, "5 {metadata}").unwrap();
        let line = self.0.read();
        match line.split_once(' ') {
            Some(("ok", name)) => Ok(name.to_owned()),
            _ => Err(line),
        }
    }
}
