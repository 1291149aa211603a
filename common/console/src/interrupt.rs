//! Ctrl-C.

use anyhow::Context as _;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The first Ctrl-C asks the training to save and stop; the second ends the program at once.
///
/// # Errors
/// If the signal is watched already.
pub fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(1);
        }
        crate::note!("\nsaving and stopping; press Ctrl-C again to stop at once");
    })
    .context("cannot watch for Ctrl-C")?;
    Ok(stop)
}
