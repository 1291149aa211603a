//! Encoders with random parameters of any size, for tests and benchmarks.

use super::write::parameters;
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use common::model::EncoderSpec;

/// Random parameters, in the shapes of [`parameters`]: matrices uniform within Xavier's bound, LayerNorms near the
/// identity, everything else small. The same for the same seed on every machine.
#[must_use]
pub fn random_parameters(spec: &EncoderSpec, seed: u64) -> BTreeMap<String, Vec<f32>> {
    let mut state = seed;
    let mut fill = |(name, shape): (String, Vec<usize>)| {
        let inputs: usize = shape.iter().skip(1).product();
        let (centre, bound) = match &shape[..] {
            [_] if name.contains("norm") && name.ends_with("weight") => (1.0, 0.2),
            [_] | [1, ..] => (0.0, 0.05),
            [outputs, ..] => (0.0, libm::sqrtf(6.0 / (outputs + inputs) as f32)),
            [] => (0.0, 0.0),
        };
        let values = (0..shape.iter().product()).map(|_| centre + bound * uniform(&mut state)).collect();
        (name, values)
    };
    parameters(spec).into_iter().map(&mut fill).collect()
}

/// In [-1, 1), by SplitMix64.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
}
