//! What a set of kernels is.

use crate::native::{
    float::{Heads, Scaling},
    format::Norm,
    lanes::CHUNK,
    product::Product,
    softmax::HeadScales,
};

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

/// The functions of [`float`](crate::native::float) and [`softmax`](crate::native::softmax) of the same names, which
/// say what each does.
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

/// `passes!(Lanes)`: the passes for everybody. `passes!(Lanes, "features")`: compiled with CPU features; the value
/// may be used only where the processor has them.
macro_rules! passes {
    ($lanes:ty) => {
        $crate::native::kernels::set::Passes {
            norm: $crate::native::float::norm::<$lanes>,
            peak: $crate::native::float::peak::<$lanes>,
            quantize: $crate::native::float::quantize::<$lanes>,
            rounded: $crate::native::float::rounded::<$lanes>,
            heads: $crate::native::float::heads::<$lanes>,
            gelu_of: $crate::native::float::gelu_of::<$lanes>,
            add: $crate::native::float::add::<$lanes>,
            pixels: $crate::native::float::pixels::<$lanes>,
            top: $crate::native::softmax::top::<$lanes>,
            softmax: $crate::native::softmax::softmax::<$lanes>,
            attended: $crate::native::softmax::attended::<$lanes>,
        }
    };
    ($lanes:ty, $features:literal) => {{
        use $crate::native::{
            float::{self, Heads, Scaling},
            format::Norm,
            lanes::CHUNK,
            softmax::{self, HeadScales},
        };
        $crate::native::kernels::set::passes!(@wrap $lanes, $features,
            float::norm(x: &[f32], parameters: Norm<'_>, eps: f32, out: &mut [f32]) -> f32;
            float::peak(x: &[f32]) -> f32;
            float::quantize(x: &[f32], peak: f32, out: &mut [i8]) -> f32;
            float::rounded(x: &[f32], inverse: f32, out: &mut [i8]) -> ();
            float::heads(sums: &[i32], scaling: Scaling<'_>, scratch: &mut [f32], heads: Heads<'_>) -> ();
            float::gelu_of(sums: &[i32], scaling: Scaling<'_>, out: &mut [f32]) -> f32;
            float::add(x: &mut [f32], sums: &[i32], scaling: Scaling<'_>) -> ();
            float::pixels(x: &[f32], maps: [&[[f32; CHUNK]; 3]; 2], out: &mut [f32]) -> (f32, f32);
            softmax::top(scores: &[i32], scales: HeadScales<'_>) -> f32;
            softmax::softmax(
                scores: &[i32], scales: HeadScales<'_>, top: f32, factor: f32, high: &mut [i8], low: &mut [i8]
            ) -> f32;
            softmax::attended(high: &[i32], low: &[i32], factor: f32, out: &mut [f32]) -> ();
        )
    }};
    (@wrap $lanes:ty, $features:literal,
        $($module:ident::$name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        $crate::native::kernels::set::Passes {$(
            $name: {
                fn outer($($argument: $type),*) -> $result {
                    #[target_feature(enable = $features)]
                    fn inner($($argument: $type),*) -> $result {
                        $module::$name::<$lanes>($($argument),*)
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
