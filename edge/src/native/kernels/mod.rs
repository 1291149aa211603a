//! The encoder's inner loops for each machine: integer products, and the passes of [`float`](super::float) and
//! [`softmax`](super::softmax).
//!
//! All sets give the same bits. Which one runs is decided at run time where the standard library can ask the
//! processor, and otherwise by what the program was compiled for.

pub use set::{Kernels, Passes};

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
pub mod aarch64;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
mod block_asm;
#[cfg(any(all(target_arch = "aarch64", target_feature = "neon"), all(target_arch = "arm", dsp_instructions)))]
#[allow(unsafe_code)]
pub mod blocks;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
pub mod dotprod;
#[cfg(all(target_arch = "arm", dsp_instructions))]
#[allow(unsafe_code)]
pub mod dsp;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
pub mod i8mm;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
pub mod neon;
pub mod portable;
pub mod set;
#[cfg(all(target_arch = "arm", fused_instructions))]
#[allow(unsafe_code)]
pub mod vfp;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub mod x86;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub mod x86_product;

#[cfg(all(test, feature = "std"))]
pub(crate) mod tests;

impl Kernels {
    /// The set that runs everywhere.
    #[must_use]
    pub fn portable() -> &'static Self {
        &portable::PORTABLE
    }

    /// The fastest set for this machine.
    #[must_use]
    pub fn best() -> &'static Self {
        Self::all().last().unwrap_or(&portable::PORTABLE)
    }

    /// The set of this name, if this machine can run it.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|kernels| kernels.name == name)
    }

    /// Multiplies and adds on registers alone, as fast as this set's instructions can, for so many rounds; how many
    /// multiplications that were. Timed, it is the peak that a product can come near to. `None` where none is
    /// written.
    #[must_use]
    pub fn peak(&self, rounds: u64) -> Option<u64> {
        #[cfg(target_arch = "x86_64")]
        {
            x86::peak(self.name, rounds)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = rounds;
            None
        }
    }

    /// All sets that this machine can run, the slowest first.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        let more: [Option<&'static Self>; 3];
        #[cfg(target_arch = "x86_64")]
        {
            more = x86::usable();
        }
        #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
        {
            more = aarch64::usable();
        }
        #[cfg(all(target_arch = "arm", dsp_instructions))]
        {
            more = [Some(&dsp::DSP), None, None];
        }
        #[cfg(not(any(
            target_arch = "x86_64",
            all(target_arch = "aarch64", target_feature = "neon"),
            all(target_arch = "arm", dsp_instructions)
        )))]
        {
            more = [None; 3];
        }
        core::iter::once(&portable::PORTABLE).chain(more.into_iter().flatten())
    }
}
