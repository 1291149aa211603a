//! (being written)
/// Placeholder.
pub fn read_back(_p: &std::path::Path) -> anyhow::Result<(common::model::EncoderSpec, crate::checkpoint::Tensors)> { anyhow::bail!("x") }
