//! Lists what a log filter can name: the modules of pilot's packages, and the crates of the build.
#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    for read in ["Cargo.lock", "src", "adapters"] {
        println!("cargo::rerun-if-changed={read}");
    }
    let crates: BTreeSet<String> = names(&fs::read_to_string("Cargo.lock")?).collect();
    let mut modules = BTreeSet::new();
    let adapters = fs::read_dir("adapters")?.map(|entry| Ok(entry?.path()));
    for package in adapters.chain([Ok(PathBuf::from("."))]).collect::<io::Result<Vec<_>>>()? {
        // The testkit is part of no binary.
        if package.join("src/lib.rs").is_file() && !package.ends_with("testkit") {
            let name = names(&fs::read_to_string(package.join("Cargo.toml"))?).next().unwrap_or_default();
            add_modules(&package.join("src"), &name, &mut modules)?;
            modules.insert(name);
        }
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let lines = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join("\n");
    fs::write(out.join("modules.txt"), lines(modules))?;
    fs::write(out.join("crates.txt"), lines(crates))
}

/// The names of packages in a manifest or a lock file, as Rust calls them.
fn names(text: &str) -> impl Iterator<Item = String> {
    let quoted = text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    quoted.map(|name| name.replace('-', "_"))
}

fn add_modules(folder: &Path, parent: &str, modules: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        let module = format!("{parent}::{name}");
        if path.is_dir() {
            add_modules(&path, &module, modules)?;
        } else if !["lib", "main", "tests"].contains(&name) {
            modules.insert(module);
        }
    }
    Ok(())
}
