//! Looking for CUDA without loading it.
/// Whether an NVIDIA driver is present.
#[must_use]
pub fn driver_present() -> bool { std::path::Path::new("/proc/driver/nvidia/version").exists() }

