//! What a runtime must do to take part.

use super::inputs::Input;

/// A runtime with a form of the model.
pub trait Contender {
    /// Runtime and form, as in tables.
    fn name(&self) -> &str;

    /// Version of the runtime, if it is not this program's own.
    fn version(&self) -> Option<&str> {
        None
    }

    /// Mean time of `repeat` encodings, ms, after one that is not timed.
    ///
    /// # Errors
    /// If the runtime fails.
    fn run(&mut self, input: &Input, repeat: usize) -> anyhow::Result<f64>;

    /// The mean of the visible patch tokens, `[D]`.
    ///
    /// # Errors
    /// If the runtime fails.
    fn feature(&mut self, input: &Input) -> anyhow::Result<Vec<f32>>;
}

/// Times `encode` as [`Contender::run`] promises.
///
/// # Errors
/// Those of `encode`.
pub fn time(repeat: usize, mut encode: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    encode()?;
    let begun = std::time::Instant::now();
    for _ in 0..repeat {
        encode()?;
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3 / repeat.max(1) as f64)
}
