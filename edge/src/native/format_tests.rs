//! Damage of every kind to an `encoder.native` is refused, and what was written is read back.

use super::{
    error::{NativeError, Part},
    format::{Model, PREFIX},
    layout::{Layout, padded_n},
    pack::packed_index,
    random::random_parameters,
    write::{WriteError, encoder, parameters},
};
use common::{
    model::{EncoderSpec, ModelHash, Pooling, PositionKind},
    normalize::PixelStats,
    position::sincos_2d_table,
};
use proptest::prelude::*;
use std::{sync::LazyLock, vec::Vec};

/// Bytes at an address that is a multiple of 64.
pub(super) struct Aligned(Vec<[u64; 8]>, usize);

impl Aligned {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut lines = vec![[0; 8]; bytes.len() / 64 + 1];
        bytemuck::cast_slice_mut(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        Self(lines, bytes.len())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.0)[..self.1]
    }
}

/// An image of `h` by `w` patches.
pub(super) fn spec_of(dim: u32, heads: u32, depth: u32, [h, w]: [u32; 2], channels: u32) -> EncoderSpec {
    EncoderSpec {
        image_height: 4 * h,
        image_width: 4 * w,
        channels,
        patch_size: 4,
        dim,
        depth,
        heads,
        mlp_ratio: 2.5,
        norm_eps: 1e-6,
        position: PositionKind::Stored,
        pooling: Pooling::Mean,
        feature_dim: dim,
        pixels: PixelStats::IMAGENET,
        hash: ModelHash([1, 2, 3, 4, 5, 6, 7, 8]),
    }
}

fn spec(dim: u32, heads: u32, depth: u32, channels: u32) -> EncoderSpec {
    spec_of(dim, heads, depth, [2, 3], channels)
}

fn written(spec: &EncoderSpec, seed: u64) -> Vec<u8> {
    let parameters = random_parameters(spec, seed);
    encoder(spec, |name| parameters.get(name).map(Vec::as_slice)).unwrap()
}

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| written(&spec(20, 2, 2, 3), 1));

fn header_end(file: &[u8]) -> usize {
    PREFIX + u32::from_le_bytes(file[8..12].try_into().unwrap()) as usize
}

#[test]
fn every_truncation_and_every_longer_file_is_refused() {
    let whole = Aligned::new(&SMALL);
    assert!(Model::parse(whole.bytes()).is_ok());
    for length in 0..SMALL.len() {
        let error = Model::parse(&whole.bytes()[..length]).unwrap_err();
        assert!(matches!(error, NativeError::Truncated { found, .. } if found == length as u64), "{length}: {error}");
    }
    let longer = Aligned::new(&[&SMALL[..], &[0]].concat());
    assert_eq!(Model::parse(longer.bytes()).unwrap_err(), NativeError::TrailingBytes(1));
}

#[test]
fn every_flipped_bit_up_to_the_data_is_refused() {
    let data_start = header_end(&SMALL).next_multiple_of(64);
    let mut file = Aligned::new(&SMALL);
    for bit in 0..data_start * 8 {
        let flip = |file: &mut Aligned| bytemuck::cast_slice_mut::<_, u8>(&mut file.0)[bit / 8] ^= 1 << (bit % 8);
        flip(&mut file);
        let error = Model::parse(file.bytes()).unwrap_err();
        let expected = match bit / 8 {
            0..7 => error == NativeError::Magic,
            7 => matches!(error, NativeError::Version(_)),
            8..12 => matches!(error, NativeError::Truncated { .. } | NativeError::Checksum(Part::Header)),
            byte if byte < header_end(&SMALL) => error == NativeError::Checksum(Part::Header),
            _ => error == NativeError::Header,
        };
        assert!(expected, "bit {bit}: {error:?}");
        flip(&mut file);
    }
    assert!(Model::parse(file.bytes()).is_ok());
}

#[test]
fn a_right_checksum_does_not_make_a_wrong_header_right() {
    let (start, end) = (PREFIX, header_end(&SMALL));
    let original = Aligned::new(&SMALL);
    let original = Model::parse(original.bytes()).unwrap();
    for byte in start..end {
        for value in [0, 1, 127, 128, 255] {
            if SMALL[byte] == value {
                continue;
            }
            let mut file = SMALL.clone();
            file[byte] = value;
            let crc = common::wire::crc32(&file[start..end]);
            file[12..16].copy_from_slice(&crc.to_le_bytes());
            let file = Aligned::new(&file);
            // Epsilon, pooling, pixels and hash may have other values; sizes and the directory not.
            if let Ok(model) = Model::parse(file.bytes()) {
                assert_eq!(model.layout(), original.layout());
                // As text: -0.0 equals 0.0.
                assert_ne!(format!("{:?}", model.spec()), format!("{:?}", original.spec()), "byte {byte}");
            }
        }
    }
}

/// A file whose data is changed and whose hashes are made to fit.
fn forged(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    use sha2::Digest as _;
    let mut file = SMALL.clone();
    let end = header_end(&file);
    let data = end.next_multiple_of(64);
    let old = sha2::Sha256::digest(&file[data..]);
    change(&mut file[data..]);
    let new = sha2::Sha256::digest(&file[data..]);
    let place = file[..end].windows(32).position(|window| *window == old[..]).unwrap();
    file[place..place + 32].copy_from_slice(&new);
    let crc = common::wire::crc32(&file[PREFIX..end]);
    file[12..16].copy_from_slice(&crc.to_le_bytes());
    file
}

#[test]
fn values_that_kernels_cannot_take_are_refused() {
    let layout = Layout::new(&spec(20, 2, 2, 3)).unwrap();
    for entry in layout.entries() {
        let (start, end) = (entry.offset as usize, (entry.offset + entry.bytes) as usize);
        let (bytes, error): (&[u8], _) = match layout.matrix(entry.kind) {
            Some(_) => (&[0x80], NativeError::Value("the weights")),
            None => (&[0, 0, 0xc0, 0x7f], NativeError::Value("the parameters")),
        };
        for at in [start, end - bytes.len()] {
            let file = Aligned::new(&forged(|data| data[at..at + bytes.len()].copy_from_slice(bytes)));
            assert_eq!(Model::parse(file.bytes()).unwrap_err(), error, "{entry:?}");
        }
    }
}

#[test]
fn misaligned_bytes_are_refused() {
    let shifted = Aligned::new(&[&[0], &SMALL[..]].concat());
    assert_eq!(Model::parse(&shifted.bytes()[1..]).unwrap_err(), NativeError::Misaligned);
    let shifted = Aligned::new(&[&[0; 4], &SMALL[..]].concat());
    assert!(Model::parse(&shifted.bytes()[4..]).is_ok());
}

#[test]
fn parameters_that_do_not_fit_are_named() {
    let spec = spec(20, 2, 1, 3);
    let good = random_parameters(&spec, 3);
    for (name, _) in parameters(&spec) {
        let mut bad = good.clone();
        let values = bad.get_mut(&name).unwrap();
        values[0] = f32::NAN;
        let write = |from: &std::collections::BTreeMap<_, Vec<f32>>| {
            encoder(&spec, |name| from.get(name).map(Vec::as_slice)).unwrap_err()
        };
        assert_eq!(write(&bad), WriteError::NotFinite(name.clone()));
        bad.get_mut(&name).unwrap().pop();
        assert!(matches!(write(&bad), WriteError::Length { name: found, .. } if found == name));
        bad.remove(&name);
        assert_eq!(write(&bad), WriteError::Missing(name));
    }
}

#[test]
fn impossible_and_huge_encoders_are_refused() {
    let good = spec(20, 2, 2, 3);
    let refused = |change: fn(&mut EncoderSpec)| {
        let mut spec = good;
        change(&mut spec);
        Layout::new(&spec).unwrap_err()
    };
    assert!(matches!(refused(|spec| spec.heads = 3), NativeError::Spec(_)));
    assert!(matches!(refused(|spec| spec.mlp_ratio = 0.01), NativeError::Spec(_)));
    let large = refused(|spec| {
        (spec.patch_size, spec.image_height, spec.image_width) = (512, 512, 512);
    });
    assert!(matches!(large, NativeError::TooLarge(_)));
    let wide = refused(|spec| {
        (spec.dim, spec.feature_dim, spec.heads, spec.mlp_ratio, spec.depth) = (4, 4, 2, 1e8, 1);
    });
    assert!(matches!(wide, NativeError::TooLarge(_)), "{wide}");
    // Many narrow blocks: the directory is not there, and nothing loops over what it might hold.
    let mut deep = good;
    (deep.dim, deep.feature_dim, deep.heads, deep.mlp_ratio, deep.depth) = (1, 1, 1, 1.0, 1 << 29);
    match Layout::new(&deep) {
        Ok(layout) => assert!(layout.data_bytes() > 1 << 38),
        Err(error) => assert!(usize::BITS < 64 && matches!(error, NativeError::TooLarge(_)), "{error}"),
    }
}

proptest! {
    #[test]
    fn a_flipped_bit_of_the_data_is_refused(place: prop::sample::Index, bit in 0_u8..8) {
        let start = header_end(&SMALL).next_multiple_of(64);
        let mut file = SMALL.clone();
        let at = start + place.index(file.len() - start);
        file[at] ^= 1 << bit;
        prop_assert_eq!(Model::parse(Aligned::new(&file).bytes()).unwrap_err(), NativeError::Checksum(Part::Data));
    }

    #[test]
    fn random_bytes_do_not_panic(bytes: Vec<u8>, header: bool) {
        let mut file = Vec::new();
        if header {
            // Past magic and checksum.
            file.extend_from_slice(b"MAENATV1");
            file.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            file.extend_from_slice(&common::wire::crc32(&bytes).to_le_bytes());
        }
        file.extend_from_slice(&bytes);
        prop_assert!(Model::parse(Aligned::new(&file).bytes()).is_err());
    }

    /// Any geometry comes back: spec, floats to the bit, weights within half a step.
    #[test]
    fn what_was_written_is_read_back(
        heads in 1_u32..4, head_dim in 1_u32..7, depth in 1_u32..3, channels in 1_u32..5, fixed: bool, seed: u64,
    ) {
        let mut spec = spec(4 * heads * head_dim, heads, depth, channels);
        if fixed {
            spec.position = PositionKind::SinCos2d;
        } else {
            spec.dim = heads * head_dim;
        }
        spec.feature_dim = spec.dim;
        let (d, mlp) = (spec.dim as usize, spec.mlp_dim());
        let parameters = random_parameters(&spec, seed);
        let file = Aligned::new(&written(&spec, seed));
        let model = Model::parse(file.bytes()).unwrap();
        prop_assert_eq!(model.spec(), &spec);
        let grid = spec.grid().unwrap();
        let patches = grid.patches();
        prop_assert_eq!(model.positions().len(), patches * d);
        prop_assert_eq!(model.cls().len(), d);
        prop_assert_eq!(model.norm().gamma, &parameters["norm.weight"][..]);
        prop_assert_eq!(model.norm().beta, &parameters["norm.bias"][..]);
        for (index, block) in model.blocks().enumerate() {
            let get = |name: &str| &parameters[&format!("blocks.{index}.{name}")];
            prop_assert_eq!(block.norm1.gamma, &get("norm1.weight")[..]);
            prop_assert_eq!(block.norm2.beta, &get("norm2.bias")[..]);
            let linears = [
                ("attn.qkv", block.qkv, 3 * d, d),
                ("attn.proj", block.proj, d, d),
                ("mlp.fc1", block.fc1, mlp, d),
                ("mlp.fc2", block.fc2, d, mlp),
            ];
            for (name, linear, n, k) in linears {
                prop_assert_eq!((linear.n, linear.k, linear.scale.len()), (n, k, padded_n(n)));
                prop_assert_eq!(&linear.bias[..n], &get(&format!("{name}.bias"))[..]);
                let weights = get(&format!("{name}.weight"));
                for (i, weight) in weights.iter().enumerate() {
                    let (row, column) = (i / k, i % k);
                    let back = f32::from(linear.weight[packed_index(row, column, k)]) * linear.scale[row];
                    prop_assert!((back - weight).abs() <= linear.scale[row] * 0.5001, "{name} {i}: {back} {weight}");
                }
                let (mut c, a) = (vec![0; padded_n(n)], vec![1; linear.k_padded]);
                prop_assert!(linear.product(&a, linear.k_padded, 1, &mut c, padded_n(n)).check());
            }
        }

        // The folded projection of a grey image is that of its normalised pixels.
        let embed = model.patch_embed();
        let p = spec.patch_size as usize;
        let weights = &parameters["patch_embed.proj.weight"];
        let table = match fixed {
            true => sincos_2d_table(&grid, d, false),
            false => parameters["pos_embed"][d..].to_vec(),
        };
        for out in 0..d {
            let (mut expected, mut found) = (parameters["patch_embed.proj.bias"][out] + table[out], 0.0);
            for value in 0..p * p * channels as usize {
                let (pixel, channel) = (value / channels as usize, value % channels as usize);
                let weight = weights[(out * channels as usize + channel) * p * p + pixel];
                expected += weight * spec.pixels.normalize(200, channel);
                found += f32::from(embed.weight[packed_index(out, value, embed.k)]) * (200.0 - 128.0);
            }
            let found = found * embed.scale[out] + model.positions()[out];
            // Half a step a weight would be 0.5 * sqrt(values); feedback leaves less, an alpha channel has none.
            let tolerance = embed.scale[out] * 72.0 * 0.5 * (p * p * channels as usize) as f32 * 0.2 + 1e-4;
            prop_assert!((found - expected).abs() < tolerance, "{out}: {found} {expected} {tolerance}");
        }
    }
}
