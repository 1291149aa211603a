//! Choosing the device at run time: CUDA where it is built in and present, else the CPU.

pub mod cuda;
mod gain;
pub mod precision;

use burn::tensor::Device;
use clap::ValueEnum;

/// Where to compute, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DeviceChoice {
    /// CUDA where it works, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// CUDA or an error.
    Cuda,
}

/// A device and how to name it to a person.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Where tensors live.
    pub device: Device,
    /// One line.
    pub description: String,
    /// Whether it is a CUDA device.
    pub cuda: bool,
}

/// Picks the device.
///
/// # Errors
/// If CUDA is asked for and cannot be had; the message says what is missing.
pub fn choose(choice: DeviceChoice) -> anyhow::Result<Chosen> {
    let cuda = match choice {
        DeviceChoice::Cpu => None,
        DeviceChoice::Auto | DeviceChoice::Cuda => Some(cuda()),
    };
    match (choice, cuda) {
        (_, Some(Ok(chosen))) => Ok(chosen),
        (DeviceChoice::Cuda, Some(Err(reason))) => Err(console::misuse(format!("no CUDA device: {reason}"))),
        (_, Some(Err(reason))) => Ok(cpu(&format!(" (no CUDA: {reason})"))),
        (_, None) => Ok(cpu("")),
    }
}

fn cpu(why: &str) -> Chosen {
    let threads = rayon::current_num_threads();
    Chosen { device: Device::flex(), description: format!("CPU, {threads} threads{why}"), cuda: false }
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Chosen, String> {
    // burn panics where the driver, NVRTC or the headers are missing: look before it does.
    cuda::cuda_status().ready()?;
    let device = Device::cuda(0);
    Ok(Chosen { device, description: "CUDA device 0".into(), cuda: true })
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> Result<Chosen, String> {
    Err(match cuda::driver_present() {
        true => "an NVIDIA driver is here, but this program was built without CUDA: use `cargo cuda pretrain`".into(),
        false => "no NVIDIA driver found".into(),
    })
}
