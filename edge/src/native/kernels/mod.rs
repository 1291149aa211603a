//! The encoder's inner loops for each machine: integer products, and the passes of [`float`](super::float).
//!
//! All sets give the same bits. Which one runs is decided at run time where the standard library can ask the
//! processor, and otherwise by what the program was compiled for.

use super::{
    float::{HeadScales, Heads, Scaling},
    format::Norm,
    lanes::CHUNK,
    product::Product,
};

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
pub mod aarch64;
#[cfg(any(all(target_arch = "aarch64", target_feature = "neon"), all(target_arch = "arm", dsp_instructions)))]
#[allow(unsafe_code)]
pub mod blocks;
#[cfg(all(target_arch = "arm", dsp_instructions))]
#[allow(unsafe_code)]
pub mod dsp;
#[cfg(all(target_arch = "arm", fused_instructions))]
#[allow(unsafe_code)]
pub mod four;
pub mod fused;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
#[allow(unsafe_code)]
pub mod neon;
pub mod portable;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub mod x86;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub mod x86_product;

/// The loops for one kind of machine.
#[derive(Debug, Clone, Copy)]
pub struct Kernels {
    /// Its name on the command line.
    pub name: &'static str,
    /// Tokens that are worked on together when there is room: their activations should stay in a fast cache.
    pub rows: usize,
    /// Computes a product exactly; returns whether [`Product::check`] holds, and writes nothing if not.
    pub product: fn(Product<'_>) -> bool,
    /// The passes in f32.
    pub passes: Passes,
}

/// The functions of [`float`](super::float) of the same names, which say what each does.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, clippy::type_complexity, reason = "described where they are written")]
pub struct Passes {
    pub norm: fn(&[f32], Norm<'_>, f32, &mut [f32]) -> f32,
    pub peak: fn(&[f32]) -> f32,
    pub quantize: fn(&[f32], f32, &mut [i8]) -> f32,
    pub rounded: fn(&[f32], f32, &mut [i8]),
    pub heads: fn(&[i32], Scaling<'_>, &mut [f32], Heads<'_>),
    pub gelu_of: fn(&[i32], Scaling<'_>, &mut [f32]) -> f32,
    pub add: fn(&mut [f32], &[i32], Scaling<'_>),
    pub pixels: fn(&[f32], [&[[f32; CHUNK]; 3]; 2], &mut [f32]) -> (f32, f32),
    pub top: fn(&[i32], HeadScales<'_>) -> f32,
    pub softmax: fn(&[i32], HeadScales<'_>, f32, f32, &mut [i8], &mut [i8]) -> f32,
    pub attended: fn(&[i32], &[i32], f32, &mut [f32]),
}

/// `passes!(Lanes)`: the passes for everybody. `passes!(Lanes, "features")`: compiled with CPU features; the value may
/// be used only where the processor has them.
macro_rules! passes {
    ($lanes:ty) => {
        $crate::native::kernels::Passes {
            norm: $crate::native::float::norm::<$lanes>,
            peak: $crate::native::float::peak::<$lanes>,
            quantize: $crate::native::float::quantize::<$lanes>,
            rounded: $crate::native::float::rounded::<$lanes>,
            heads: $crate::native::float::heads::<$lanes>,
            gelu_of: $crate::native::float::gelu_of::<$lanes>,
            add: $crate::native::float::add::<$lanes>,
            pixels: $crate::native::float::pixels::<$lanes>,
            top: $crate::native::float::top::<$lanes>,
            softmax: $crate::native::float::softmax::<$lanes>,
            attended: $crate::native::float::attended::<$lanes>,
        }
    };
    ($lanes:ty, $features:literal) => {{
        use $crate::native::{
            float::{self, HeadScales, Heads, Scaling},
            format::Norm,
            lanes::CHUNK,
        };
        $crate::native::kernels::passes!(@wrap $lanes, $features,
            norm(x: &[f32], parameters: Norm<'_>, eps: f32, out: &mut [f32]) -> f32;
            peak(x: &[f32]) -> f32;
            quantize(x: &[f32], peak: f32, out: &mut [i8]) -> f32;
            rounded(x: &[f32], inverse: f32, out: &mut [i8]) -> ();
            heads(sums: &[i32], scaling: Scaling<'_>, scratch: &mut [f32], heads: Heads<'_>) -> ();
            gelu_of(sums: &[i32], scaling: Scaling<'_>, out: &mut [f32]) -> f32;
            add(x: &mut [f32], sums: &[i32], scaling: Scaling<'_>) -> ();
            pixels(x: &[f32], maps: [&[[f32; CHUNK]; 3]; 2], out: &mut [f32]) -> (f32, f32);
            top(scores: &[i32], scales: HeadScales<'_>) -> f32;
            softmax(scores: &[i32], scales: HeadScales<'_>, top: f32, factor: f32, high: &mut [i8], low: &mut [i8]) -> f32;
            attended(high: &[i32], low: &[i32], factor: f32, out: &mut [f32]) -> ();
        )
    }};
    (@wrap $lanes:ty, $features:literal, $($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $crate::native::kernels::Passes {$(
            $name: {
                fn outer($($argument: $type),*) -> $result {
                    #[target_feature(enable = $features)]
                    fn inner($($argument: $type),*) -> $result {
                        float::$name::<$lanes>($($argument),*)
                    }
                    // SAFETY: sets with CPU features are handed out only where the processor has them.
                    unsafe { inner($($argument),*) }
                }
                outer
            },
        )*}
    };
}
pub(crate) use passes;

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
    /// multiplications that were. Timed, it is the peak that a product can come near to. `None` where none is written.
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
