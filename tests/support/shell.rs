//! A shell in which the commands of documentation are typed: in a folder of its own, at an address of its
//! own instead of 127.0.0.1, with `pilot` and what else it is given on PATH.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::loopback::own_address;

/// The shell, and the servers that were started in it, which end with it.
pub(crate) struct Shell {
    folder: TempDir,
    directory: PathBuf,
    address: Ipv4Addr,
    servers: Vec<Child>,
}

impl Shell {
    /// In an empty folder.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        let directory = folder.path().to_owned();
        let shell = Self { folder, directory, address: own_address(), servers: Vec::new() };
        shell.link(Path::new(env!("CARGO_BIN_EXE_pilot")));
        shell
    }

    /// Puts a program on PATH.
    pub(crate) fn link(&self, program: &Path) {
        symlink(program, self.bin().join(program.file_name().unwrap())).unwrap();
    }

    /// Puts a script of this shell's own on PATH.
    pub(crate) fn script(&self, name: &str, text: &str) {
        let path = self.bin().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts an Envoy on PATH: its admin pages too at the address of this test, and without its shared
    /// memory, which a killed Envoy would leave behind.
    pub(crate) fn envoy(&self, envoy: &Path) {
        let own = format!("sed -i s/127.0.0.1/{}/ \"$2\"; set -- \"$@\" --disable-hot-restart", self.address);
        let envoy = format!("exec '{}' \"$@\"", envoy.display());
        self.script("envoy", &format!("if test \"$1\" = -c; then {own}; fi\n{envoy}"));
    }

    /// Writes a file as it stands.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Writes a file, at this shell's own address.
    pub(crate) fn write_moved(&self, name: &str, text: &str) {
        self.write(name, &self.moved(text));
    }

    /// Copies a file of the repository to the same place here, at this shell's own address.
    pub(crate) fn copy(&self, name: &str) {
        let (from, to) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(name), self.folder.path().join(name));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        self.write_moved(name, &fs::read_to_string(&from).unwrap());
        fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    }

    /// Goes to a folder below that of the shell.
    pub(crate) fn enter(&mut self, folder: &str) {
        self.directory = self.folder.path().join(folder);
    }

    /// Runs a line until it ends.
    pub(crate) fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// Runs a line, which must succeed, and gives what it printed.
    pub(crate) fn succeeds(&self, line: &str) -> String {
        let output = self.run(line);
        let [said, errors] =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        assert!(output.status.success(), "{line}: {}\n{said}{errors}", output.status);
        said
    }

    /// Starts what does not end by itself.
    pub(crate) fn spawn(&mut self, line: &str) {
        // Who runs the tests in the background ignores Ctrl-C, and so would what is started.
        let line = format!("exec env --default-signal=INT {}", line.trim_end_matches(" &"));
        let mut command = self.command(&line);
        // A group of its own: what it starts ends with it.
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        self.servers.push(command.spawn().unwrap());
    }

    /// Ends what was started as number `n`, with the signal of Ctrl-C.
    pub(crate) fn interrupt(&mut self, n: usize) {
        let id = self.servers[n].id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        self.servers[n].wait().unwrap();
    }

    /// How many servers were started.
    pub(crate) fn servers(&self) -> usize {
        self.servers.len()
    }

    /// Where its servers are.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn bin(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    fn moved(&self, text: &str) -> String {
        text.replace("127.0.0.1", &self.address.to_string())
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-ec", &self.moved(line)]).current_dir(&self.directory);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PILOT_"))
        {
            command.env_remove(name);
        }
        let path = format!("{}:{}", self.bin().display(), std::env::var("PATH").unwrap());
        command.env("PATH", path).stdin(Stdio::null());
        for (key, port) in [("XDS_LISTEN", 18000), ("ADMIN_LISTEN", 18080), ("ROUTER_HTTP_LISTEN", 15080)] {
            command.env(format!("PILOT_{key}"), format!("{}:{port}", self.address));
        }
        command.env("PILOT_ROUTER_BIND", self.address.to_string());
        command
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _gone = Command::new("kill").args(["-KILL", "--", &format!("-{}", server.id())]).status();
            let _gone = server.kill().and_then(|()| server.wait().map(drop));
        }
    }
}
