//! Memory and start-up of the native encoder in a process of its own: the program `edge`.

use super::{Setup, report::Board};
use crate::bench::Spread;
use anyhow::{Context as _, bail};
use std::process::{Command, Stdio};

/// Processes that are started.
const STARTS: usize = 7;

/// Starts `edge bench` several times.
///
/// # Errors
/// If there is no `edge` beside this program, or it fails.
pub fn measure(setup: &Setup) -> anyhow::Result<Board> {
    let edge = std::env::current_exe()?.with_file_name("edge");
    if !edge.exists() {
        bail!("{} does not exist; build it with: cargo build --release -p edge", edge.display());
    }
    let (mut memory, mut startup) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let mut command = Command::new(&edge);
        command.args(["bench", "--runtime", "native", "--keep", "1", "--rounds", "3", "--threads", "1", "--json"]);
        if let Some(kernels) = &setup.kernels {
            command.args(["--kernels", kernels]);
        }
        let output = command.arg("--model").arg(&setup.model.path).stderr(Stdio::piped()).output()?;
        if !output.status.success() {
            bail!("edge bench failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).context("edge bench gave no JSON")?;
        let figure = |name: &str| rows[0][name].as_f64().with_context(|| format!("edge bench gave no {name}"));
        memory.push(figure("peak_memory_bytes")?);
        startup.push(figure("startup_ms")?);
    }
    let model_bytes = setup.model.folder.native()?.metadata()?.len();
    let spread = |values: &[f64]| Spread::of(values).context("nothing was measured");
    Ok(Board { model_bytes, peak_memory_bytes: spread(&memory)?, startup_ms: spread(&startup)? })
}
