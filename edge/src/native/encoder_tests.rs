//! The encoder against plain f32, and against itself on every set of kernels, with any memory and any threads.

use super::{
    encoder::{Encoder, Patches},
    error::NativeError,
    format::Model,
    format_tests::{Aligned, spec_of as spec},
    kernels::{Kernels, tests::Random},
    random::random_parameters,
    reference::{Parameters, Reference, encode},
    workspace::{Line, Shape},
    write::encoder,
};
use common::model::{EncoderSpec, Pooling};
use proptest::prelude::*;

struct Case {
    spec: EncoderSpec,
    parameters: Parameters,
    file: Aligned,
}

impl Case {
    fn new(spec: EncoderSpec, seed: u64) -> Self {
        let parameters = random_parameters(&spec, seed);
        let file = Aligned::new(&encoder(&spec, |name| parameters.get(name).map(Vec::as_slice)).unwrap());
        Self { spec, parameters, file }
    }

    fn model(&self) -> Model<'_> {
        Model::parse(self.file.bytes()).unwrap()
    }

    /// Random ids in random order and smooth random pixels for them.
    fn image(&self, visible: usize, seed: u64) -> (Vec<u32>, Vec<u8>) {
        let shape = Shape::of(&self.spec).unwrap();
        let mut random = Random(seed);
        let mut ids: Vec<u32> = (0..shape.patches as u32).collect();
        for i in (1..ids.len()).rev() {
            ids.swap(i, (random.next() % (i as u64 + 1)) as usize);
        }
        ids.truncate(visible);
        let mut level = 128.0;
        let mut pixel = || {
            level = (level + 30.0 * random.float()).clamp(0.0, 255.0);
            level as u8
        };
        (ids, (0..visible * shape.patch_dim).map(|_| pixel()).collect())
    }

    /// The pixels as the normalisation leaves them.
    fn values(&self, pixels: &[u8]) -> Vec<f32> {
        let channels = self.spec.channels as usize;
        let normalize = |(i, pixel): (usize, &u8)| self.spec.pixels.normalize(*pixel, i % channels);
        pixels.iter().enumerate().map(normalize).collect()
    }
}

/// All features in one vector.
fn run(encoder: &mut Encoder<'_>, patches: Patches<'_>, ids: &[u32]) -> Vec<u32> {
    let features = encoder.encode(patches, ids).unwrap();
    let all = features.cls.iter().chain(features.mean).chain(features.tokens);
    all.map(|value| value.to_bits()).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Widths of heads that fill tiles (64, 16), steps (24, 12, 8, 4) or neither (10, 5), and every pooling.
#[test]
fn features_are_those_of_plain_f32() {
    let poolings = [Pooling::Cls, Pooling::Mean, Pooling::MeanNorm];
    let widths = [(192, 3), (96, 4), (48, 4), (32, 4), (16, 4), (64, 4), (20, 2), (20, 4)];
    let mut all = Vec::new();
    for (index, (dim, heads)) in widths.into_iter().enumerate() {
        let mut spec = spec(dim, heads, 3, [5, 6], 3);
        spec.pooling = poolings[index % 3];
        let case = Case::new(spec, index as u64);
        let mut encoder = Encoder::allocate(case.model(), Kernels::best(), 30, 1).unwrap();
        for visible in [1, 2, 7, 15, 16, 30] {
            let (ids, pixels) = case.image(visible, visible as u64);
            let Reference { cls, mean, tokens } = encode(&spec, &case.parameters, &case.values(&pixels), &ids);
            let features = encoder.encode(Patches::Pixels(&pixels), &ids).unwrap();
            assert_eq!(features.pooled(Pooling::Cls), features.cls);
            assert_eq!(features.pooled(Pooling::MeanNorm), features.mean);
            for (found, expected) in [(features.cls, &cls), (features.mean, &mean), (features.tokens, &tokens)] {
                assert_eq!(found.len(), expected.len());
                let cosine = cosine(found, expected);
                assert!(cosine > 0.995, "{dim}/{heads}, {visible} visible: {cosine}");
                all.push(cosine);
            }
        }
    }
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    println!("cosine to f32: mean {mean:.5}, least {:.5}", all.iter().copied().fold(1.0, f64::min));
    assert!(mean > 0.999, "{mean}");
}

/// Normalised pixels are brought back to the pixels; other values are taken with a scale of their own.
#[test]
fn values_are_taken_like_pixels() {
    for channels in 1..=4 {
        let case = Case::new(spec(32, 2, 2, [3, 3], channels), 7);
        let (ids, mut pixels) = case.image(9, 3);
        (pixels[0], pixels[1]) = (0, 255);
        let values = case.values(&pixels);
        let mut encoder = Encoder::allocate(case.model(), Kernels::best(), 9, 1).unwrap();
        let expected = run(&mut encoder, Patches::Pixels(&pixels), &ids);
        assert_eq!(run(&mut encoder, Patches::Values(&values), &ids), expected);

        let wide: Vec<f32> = values.iter().map(|value| value * 5.0).collect();
        let reference = encode(&case.spec, &case.parameters, &wide, &ids);
        let features = encoder.encode(Patches::Values(&wide), &ids).unwrap();
        let cosine = cosine(features.mean, &reference.mean);
        assert!(cosine > 0.995, "{cosine}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same bits from every set of kernels, however many rows are worked on together, with any number of threads,
    /// in lent memory, and after another image.
    #[test]
    fn everybody_gives_the_same_bits(
        (heads, width) in (1_u32..4, 1_u32..9), depth in 1_u32..4, (h, w) in (1_u32..7, 1_u32..8),
        rows in 1_usize..60, threads in 1_usize..6, seed: u64,
    ) {
        let case = Case::new(spec(heads * width * 4, heads, depth, [h, w], 3), seed);
        let (model, patches) = (case.model(), (h * w) as usize);
        let visible = 1 + (seed % patches as u64) as usize;
        let (ids, pixels) = case.image(visible, seed);
        let (other_ids, other_pixels) = case.image(patches, !seed);
        let mut plain = Encoder::allocate_rows(model, Kernels::portable(), visible, 1, 4).unwrap();
        let expected = run(&mut plain, Patches::Pixels(&pixels), &ids);
        for kernels in Kernels::all() {
            let mut encoder = Encoder::allocate_rows(model, kernels, patches, threads, rows).unwrap();
            run(&mut encoder, Patches::Pixels(&other_pixels), &other_ids);
            prop_assert!(run(&mut encoder, Patches::Pixels(&pixels), &ids) == expected, "{}", kernels.name);
        }
        let least = Shape::of(&case.spec).unwrap().workspace(patches, 4, 1);
        let mut lines = vec![Line::ZERO; least + rows];
        let mut lent = Encoder::new(model, Kernels::best(), patches, &mut lines).unwrap();
        prop_assert_eq!(run(&mut lent, Patches::Pixels(&pixels), &ids), expected);
    }
}

/// Firmware's memory: its size is known when compiling.
#[test]
fn memory_can_be_a_static() {
    const SHAPE: Shape = Shape { dim: 16, heads: 2, mlp_dim: 40, patch_dim: 16, patches: 6 };
    let mut lines = [Line::ZERO; SHAPE.workspace(6, 4, 1)];
    let case = Case::new(spec(16, 2, 1, [2, 3], 1), 1);
    assert_eq!(Shape::of(&case.spec), Ok(SHAPE));
    assert!(Encoder::new(case.model(), Kernels::portable(), 6, &mut lines).is_ok());
}

#[test]
fn what_is_wrong_is_said() {
    let case = Case::new(spec(16, 2, 1, [2, 3], 1), 1);
    let model = case.model();
    let allocate = |visible| Encoder::allocate(model, Kernels::best(), visible, 1);
    assert_eq!(allocate(0).err(), Some(NativeError::Visible { found: 0, most: 6 }));
    assert_eq!(allocate(7).err(), Some(NativeError::Visible { found: 7, most: 6 }));
    let expected = Shape::of(&case.spec).unwrap().workspace(6, 4, 1);
    let mut lines = vec![Line::ZERO; expected - 1];
    let error = Encoder::new(model, Kernels::best(), 6, &mut lines).err().unwrap();
    let what = "the workspace, in lines of 64 bytes,";
    assert_eq!(error, NativeError::Length { what, expected, found: expected - 1 });

    let mut encoder = allocate(4).unwrap();
    let mut fails = |patches: Patches<'_>, ids: &[u32]| encoder.encode(patches, ids).err().unwrap();
    let pixels = [0; 5 * 16];
    assert_eq!(fails(Patches::Pixels(&[]), &[]), NativeError::Visible { found: 0, most: 4 });
    assert_eq!(fails(Patches::Pixels(&pixels), &[0; 5]), NativeError::Visible { found: 5, most: 4 });
    let wrong = NativeError::Length { what: "the visible patches", expected: 32, found: 80 };
    assert_eq!(fails(Patches::Pixels(&pixels), &[0, 1]), wrong);
    let outside = NativeError::Index { index: 6, patches: 6 };
    assert_eq!(fails(Patches::Pixels(&pixels[..32]), &[0, 6]), outside);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.1e6] {
        let mut values = [0.0; 32];
        values[17] = bad;
        assert_eq!(fails(Patches::Values(&values), &[0, 1]), NativeError::PatchValue(17));
    }
}

/// Extreme but permitted inputs and parameters give numbers or none, but no panic.
#[test]
fn extreme_values_do_not_panic() {
    let spec = spec(20, 2, 2, [2, 3], 3);
    for factor in [0.0, 1e-30, 1e15, 1e30] {
        let mut parameters = random_parameters(&spec, 3);
        parameters.values_mut().flatten().for_each(|value| *value *= factor);
        let file = Aligned::new(&encoder(&spec, |name| parameters.get(name).map(Vec::as_slice)).unwrap());
        for kernels in Kernels::all() {
            let mut encoder = Encoder::allocate(Model::parse(file.bytes()).unwrap(), kernels, 6, 2).unwrap();
            for value in [0.0, -1e6, 1e6] {
                let features = encoder.encode(Patches::Values(&[value; 48 * 3]), &[0, 5, 5]).unwrap();
                assert_eq!(features.tokens.len(), 60);
            }
        }
    }
}
