//! `pilot completions`: the Tab key for shells.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Print a script that teaches your shell to complete pilot's commands
///
/// Examples:
///
///   pilot completions bash > ~/.local/share/bash-completion/completions/pilot
///   pilot completions zsh  > ~/.zfunc/_pilot
///   pilot completions fish > ~/.config/fish/completions/pilot.fish
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The shell.
    shell: Shell,
}

impl Args {
    /// Prints the script.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { shell } = self;
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::Cli::command(), "pilot", &mut script);
        super::print(&String::from_utf8_lossy(&script))
    }
}
