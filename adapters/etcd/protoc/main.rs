//! The part of `protoc` that build scripts call: .proto files in, a file of descriptors out.
//!
//! `etcd-client` compiles etcd's .proto files with whatever `PROTOC` names, and there is no reason to ask
//! every machine that builds pilot to have one. `.cargo/config.toml` names `.cargo/protoc`, which runs this.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use protox::Compiler;

/// What a build script asks for.
#[derive(Debug, Default)]
struct Request {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    out: Option<PathBuf>,
    imports: bool,
    source_info: bool,
}

impl Request {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut request = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "-I" => request.includes.push(value()?.into()),
                "-o" => request.out = Some(value()?.into()),
                "--include_imports" => request.imports = true,
                "--include_source_info" => request.source_info = true,
                flag if flag.starts_with('-') => {
                    bail!("{flag} is not known: expected -I, -o, --include_imports or --include_source_info")
                }
                file => request.files.push(file.into()),
            }
        }
        Ok(request)
    }
}

fn main() -> Result<()> {
    let Request { includes, files, out, imports, source_info } = Request::read(std::env::args().skip(1))?;
    let out = out.context("-o FILE is missing: where the descriptors go")?;
    let mut compiler = Compiler::new(includes)?;
    compiler.include_imports(imports).include_source_info(source_info).open_files(files)?;
    std::fs::write(&out, compiler.encode_file_descriptor_set())
        .with_context(|| format!("writing {}", out.display()))
}
