//! `host bench check`.

use super::spinner;
use crate::{
    bench::{
        check::{self, Check, Setup},
        step::ops,
    },
    device::{
        self, DeviceChoice,
        precision::{Precision, PrecisionChoice},
    },
};
use anyhow::bail;
use serde_json::json;
use std::path::PathBuf;

/// Options of `host bench check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to compute.
    #[arg(long, value_enum, default_value = "auto")]
    device: DeviceChoice,
    /// The official implementation's numbers.
    #[arg(long, value_name = "DIR", default_value = "tests/parity/mae-32")]
    parity: PathBuf,
    /// Arithmetic of training; auto is fp32 here.
    #[arg(long, value_enum, default_value = "auto")]
    precision: PrecisionChoice,
    /// burn's own operations instead of the fused ones.
    #[arg(long)]
    plain_ops: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Compares, and prints a table.
///
/// # Errors
/// If something differs too much; or with a message that says what to do.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let chosen = device::choose(args.device)?;
    let precision = match args.precision {
        PrecisionChoice::Auto => Precision::Fp32,
        choice => choice.on(&chosen, None)?,
    };
    let ops = ops(&chosen.device, args.plain_ops, precision);
    let setup = Setup { folder: args.parity.clone(), device: chosen.device, cuda: chosen.cuda, ops };
    let spinner = spinner();
    let checks = check::run(&setup, &|what| spinner.set_message(what.to_owned()));
    spinner.finish_and_clear();
    let checks = checks?;
    let failed = checks.iter().filter(|check| !check.passed()).count();
    let mode = if chosen.cuda { "plain" } else { ops.mode() };
    if args.json {
        let rows: Vec<_> = checks.iter().map(row).collect();
        let report = json!({
            "program": "host",
            "version": env!("CARGO_PKG_VERSION"),
            "device": chosen.description,
            "precision": precision.name(),
            "mode": mode,
            "checks": rows,
            "failed": failed,
        });
        console::say!("{report}");
    } else {
        console::say!("{}, {mode} operations; {}", precision.name(), chosen.description);
        console::say!("{:<44} {:>12}  {:>9}", "quantity", "difference", "tolerance");
        for check in &checks {
            let Check { name, difference, tolerance, at } = check;
            let verdict = match at {
                _ if check.passed() => "ok".to_owned(),
                Some(at) => format!("FAILED at {at}"),
                None => "FAILED".to_owned(),
            };
            console::say!("{name:<44} {difference:>12.2e}  {tolerance:>9.1e}  {verdict}");
        }
    }
    if failed > 0 {
        bail!("{failed} of {} quantities differ too much from the official implementation", checks.len());
    }
    if !args.json {
        console::say!("all {} quantities equal the official implementation's within their tolerances", checks.len());
    }
    Ok(())
}

/// JSON knows no infinity: such a difference is `null`.
fn row(check: &Check) -> serde_json::Value {
    json!({
        "name": check.name,
        "difference": check.difference,
        "tolerance": check.tolerance,
        "passed": check.passed(),
        "at": check.at,
    })
}
