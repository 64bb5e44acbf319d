//! The files and variables that pilot.toml names: are they there, and what they are meant to be?

use std::io::ErrorKind;
use std::path::Path;

use crate::config::{Loaded, Problem};
use crate::registries::{self, Named};

/// More than any file with a certificate or a credential has.
const MAX_BYTES: u64 = 16 << 20;

/// What is wrong with the files with credentials and certificates. What is in them is never shown.
pub(super) fn problems(loaded: &Loaded) -> Vec<Problem> {
    let wrong = |Named { key, name }: Named<std::path::PathBuf>| {
        let why = wrong(last(&key), &name)?;
        Some(loaded.origins.problem(&key, format!("{} {why}", name.display())))
    };
    let inside = |Named { key, name: (place, path) }: Named<(String, std::path::PathBuf)>| {
        let why = wrong_inside(&place, &path)?;
        Some(loaded.origins.problem(&key, format!("{place}: {} {why}", path.display())))
    };
    let named = registries::named_files(loaded).into_iter().filter_map(wrong);
    named.chain(registries::files_of_files(loaded).into_iter().filter_map(inside)).collect()
}

/// Variables that are missing here. They may be there where pilot will run.
pub(super) fn missing_variables(loaded: &Loaded) -> Vec<Problem> {
    let is_set = |named: &Named<String>| std::env::var_os(&named.name).is_some_and(|value| !value.is_empty());
    let missing = registries::named_variables(loaded).into_iter().filter(|named| !is_set(named));
    let warning = |Named { key, name }: Named<String>| {
        let message = match key.ends_with(".kubeconfig") {
            true => format!("none is given, so pilot has to run in a pod of the cluster: here is no {name}"),
            false => format!("there is no environment variable {name} here, or it is empty"),
        };
        loaded.origins.problem(&key, message)
    };
    missing.map(warning).collect()
}

fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or_default()
}

/// The same of a file that a kubeconfig names.
fn wrong_inside(place: &str, path: &Path) -> Option<String> {
    let key = match last(place) {
        "certificate-authority" => "ca",
        "client-certificate" => "cert",
        "client-key" => "key",
        other => other,
    };
    wrong(key, path)
}

/// Why the file cannot be what the last part of its key says.
fn wrong(key: &str, path: &Path) -> Option<String> {
    let text = match read(path) {
        Ok(Some(text)) => text,
        Ok(None) => return None,
        Err(why) => return Some(why),
    };
    let expected = match key {
        "ca" | "cert" if !has_pem(&text, |label| label == "CERTIFICATE") => {
            "has no certificate: expected PEM, -----BEGIN CERTIFICATE-----"
        }
        "key" if !has_pem(&text, |label| label.ends_with("PRIVATE KEY")) => {
            "has no private key: expected PEM, -----BEGIN PRIVATE KEY-----"
        }
        "kubeconfig" if !is_kubeconfig(&text) => {
            "is no kubeconfig: expected YAML with clusters, users and contexts"
        }
        "ca" | "cert" | "key" | "kubeconfig" => return None,
        _ if text.trim().is_empty() => "is empty: expected the secret in it",
        _ => return None,
    };
    Some(expected.to_owned())
}

/// `None` = it is there, and not looked into.
fn read(path: &Path) -> Result<Option<String>, String> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "does not exist".to_owned(),
        ErrorKind::PermissionDenied => "cannot be read: permission denied".to_owned(),
        ErrorKind::InvalidData => "is not text".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.is_dir() {
        return Err("is a folder: expected a file".into());
    }
    // A pipe is somebody else's to read, once.
    if !metadata.is_file() {
        return Ok(None);
    }
    if metadata.len() > MAX_BYTES {
        return Err(format!("has {} bytes: expected at most {MAX_BYTES}", metadata.len()));
    }
    std::fs::read_to_string(path).map(Some).map_err(failed)
}

/// Whether the text has a block of that label (RFC 7468).
fn has_pem(text: &str, is_meant: impl Fn(&str) -> bool) -> bool {
    let mut rest = text;
    while let Some((_, begun)) = rest.split_once("-----BEGIN ") {
        let Some((label, body)) = begun.split_once("-----") else { return false };
        let Some((inside, after)) = body.split_once(&format!("-----END {label}-----")) else { return false };
        let plain = |c: char| c.is_ascii_alphanumeric() || c.is_ascii_whitespace() || "+/=".contains(c);
        // Old keys have headers before their text.
        let inside = inside.replace('\r', "");
        let body = inside.rsplit_once("\n\n").map_or(inside.as_str(), |(_, body)| body);
        if is_meant(label) && !body.trim().is_empty() && body.chars().all(plain) {
            return true;
        }
        rest = after;
    }
    false
}

fn is_kubeconfig(text: &str) -> bool {
    let parsed: Result<serde_json::Value, _> = serde_saphyr::from_str(text);
    parsed.is_ok_and(|config| config.get("clusters").is_some_and(serde_json::Value::is_array))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_known_by_its_block() {
        let block =
            |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let certificate = |text: &str| has_pem(text, |label| label == "CERTIFICATE");
        assert!(certificate(&block("CERTIFICATE", "TUlJQg==")));
        assert!(certificate(&(block("RSA PRIVATE KEY", "TUlJQg==") + &block("CERTIFICATE", "TUlJQg=="))));
        for text in [
            String::new(),
            block("CERTIFICATE", ""),
            block("CERTIFICATE", "<html>"),
            block("RSA PRIVATE KEY", "TUlJQg=="),
            "-----BEGIN CERTIFICATE-----\nTUlJQg==\n".to_owned(),
        ] {
            assert!(!certificate(&text), "{text:?}");
        }
    }
}
