//! A probe by a command.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::Verdict;
use crate::register::process::Process;

/// As much of what it writes is kept, to say why it failed.
const OUTPUT_MAX: usize = 1024;
/// What was written is there when the command has ended; something that it has left running may hold the
/// pipe open.
const OUTPUT_WAIT: Duration = Duration::from_millis(100);

/// Runs a command by `sh`. Exit codes mean what they mean to Consul: 0 passes, 1 warns. Dropping the future
/// kills the command and its process group. It gets none of the `withheld` environment variables.
pub(super) async fn run(command: &str, withheld: &[String]) -> Verdict {
    let mut shell = Command::new("sh");
    // What it complains of is heard too, in its order.
    shell.arg("-c").arg(format!("exec 2>&1\n{command}"));
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    withheld.iter().for_each(|variable| _ = shell.env_remove(variable));
    let mut process = match Process::spawn(&mut shell) {
        Ok(process) => process,
        Err(error) => return Verdict::Fail(format!("sh does not start: {error}")),
    };
    let pipe = process.stdout();
    let mut output = Vec::new();
    let ended = {
        let reading = read(pipe, &mut output);
        tokio::pin!(reading);
        tokio::select! {
            ended = process.wait() => {
                let _rest = timeout(OUTPUT_WAIT, reading).await;
                ended
            }
            () = &mut reading => process.wait().await,
        }
    };
    match ended {
        Ok(status) => verdict(status, &output),
        Err(error) => Verdict::Fail(format!("nothing is known of its end: {error}")),
    }
}

/// Reads to the end, for a command that cannot write goes no further, and keeps the beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>, output: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; OUTPUT_MAX];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        let wanted = count.min(OUTPUT_MAX - output.len());
        output.extend_from_slice(&buffer[..wanted]);
    }
}

fn verdict(status: ExitStatus, output: &[u8]) -> Verdict {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    let why = line.map_or_else(|| status.to_string(), |line| format!("{status}: {line}"));
    match status.code() {
        Some(0) => Verdict::Pass,
        Some(1) => Verdict::Warn(why),
        _ => Verdict::Fail(why),
    }
}
