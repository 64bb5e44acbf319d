//! `pilot help`: the long help of pilot or of one verb.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::CommandFactory;

/// Print this message, or the help of a command
///
/// Example: pilot help registries release
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The command, by its name or an alias. Without one, the help of pilot itself.
    #[arg(value_name = "COMMAND")]
    verbs: Vec<String>,
}

impl Args {
    /// Prints the help.
    ///
    /// # Errors
    /// There is no such command.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Self { verbs } = self;
        let mut root = super::Cli::command();
        // Names of commands, and what is global, come about with it.
        root.build();
        let mut command = &mut root;
        for verb in &verbs {
            let known: Vec<String> = command.get_subcommands().map(|it| it.get_name().to_owned()).collect();
            command = command.find_subcommand_mut(verb).ok_or_else(|| match known.as_slice() {
                [] => anyhow!("{verb:?} is no command: {} has none", verbs[0]),
                known => anyhow!("{verb:?} is no command: expected one of {}", known.join(", ")),
            })?;
        }
        super::print(&command.render_long_help().to_string())
    }
}
