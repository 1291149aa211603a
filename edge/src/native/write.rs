//! Makes the bytes of an `encoder.native` from float parameters.

use super::{
    error::NativeError,
    format::{Header, MAGIC, PREFIX, VERSION},
    layout::{ALIGN, Kind, Layout, padded_n},
    pack::{pack, packed_len},
    quantize::{Quantized, quantize_patches, quantize_rows},
};
use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use common::{
    model::{EncoderSpec, PositionKind, SpecError},
    position::sincos_2d_table,
    wire::crc32,
};
use sha2::{Digest as _, Sha256};

/// Why a native encoder cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The encoder is impossible or too large.
    #[error(transparent)]
    Native(#[from] NativeError),
    /// A parameter is not there.
    #[error("the tensor `{0}` is missing")]
    Missing(String),
    /// A parameter has another number of values.
    #[error("the tensor `{name}` holds {found} values where {expected} are needed")]
    Length {
        /// Which of [`parameters`].
        name: String,
        /// Values that the encoder needs.
        expected: usize,
        /// Values that it has.
        found: usize,
    },
    /// A parameter is infinite or no number.
    #[error("the tensor `{0}` holds a value that is not finite: the training diverged")]
    NotFinite(String),
}

/// Names and shapes of the parameters of an encoder, as in a PyTorch checkpoint: matrices `[out, in]`, the patch
/// projection `[D, C, p, p]`.
#[must_use]
pub fn parameters(spec: &EncoderSpec) -> Vec<(String, Vec<usize>)> {
    let (d, p, c) = (spec.dim as usize, spec.patch_size as usize, spec.channels as usize);
    let mlp = spec.mlp_dim();
    let mut all = vec![
        ("patch_embed.proj.weight".into(), vec![d, c, p, p]),
        ("patch_embed.proj.bias".into(), vec![d]),
        ("cls_token".into(), vec![1, 1, d]),
    ];
    if spec.position == PositionKind::Stored {
        let patches = spec.grid().map_or(0, |grid| grid.patches());
        all.push(("pos_embed".into(), vec![1, 1 + patches, d]));
    }
    let vector = |all: &mut Vec<_>, name: String, n| all.push((name, vec![n]));
    for block in 0..spec.depth {
        let name = |part: &str| format!("blocks.{block}.{part}");
        let linears = [("attn.qkv", 3 * d, d), ("attn.proj", d, d), ("mlp.fc1", mlp, d), ("mlp.fc2", d, mlp)];
        for (part, n, k) in linears {
            all.push((name(&format!("{part}.weight")), vec![n, k]));
            vector(&mut all, name(&format!("{part}.bias")), n);
        }
        for part in ["norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"] {
            vector(&mut all, name(part), d);
        }
    }
    vector(&mut all, "norm.weight".into(), d);
    vector(&mut all, "norm.bias".into(), d);
    all
}

/// The file's bytes. `parameter` gives the values of a name of [`parameters`], in its shape, row-major.
///
/// # Errors
/// If the encoder is impossible, or a parameter is missing, of another length or not finite.
pub fn encoder<'t>(spec: &EncoderSpec, parameter: impl Fn(&str) -> Option<&'t [f32]>) -> Result<Vec<u8>, WriteError> {
    let layout = Layout::new(spec)?;
    let mut values = BTreeMap::new();
    for (name, shape) in parameters(spec) {
        let found = parameter(&name).ok_or_else(|| WriteError::Missing(name.clone()))?;
        let expected = shape.iter().product();
        if found.len() != expected {
            return Err(WriteError::Length { name, expected, found: found.len() });
        }
        if found.iter().any(|value| !value.is_finite()) {
            return Err(WriteError::NotFinite(name));
        }
        values.insert(name, found);
    }
    let mut writer = Writer { spec, layout, values, data: vec![0; layout.data_bytes() as usize] };
    writer.embedding()?;
    for block in 0..spec.depth {
        writer.block(block);
    }
    writer.norm(0, "norm", [Kind::NormGamma, Kind::NormBeta]);
    // Folding may overflow what was finite before.
    let floats = writer.layout.entries().filter(|entry| writer.layout.matrix(entry.kind).is_none());
    for entry in floats {
        let bytes = &writer.data[entry.offset as usize..][..entry.bytes as usize];
        if bytes.as_chunks::<4>().0.iter().any(|value| !f32::from_le_bytes(*value).is_finite()) {
            return Err(NativeError::Value("the parameters").into());
        }
    }
    Ok(file(spec, &layout, &writer.data))
}

/// Prefix, header, directory, padding and data.
fn file(spec: &EncoderSpec, layout: &Layout, data: &[u8]) -> Vec<u8> {
    let (data_bytes, data_sha256) = (data.len() as u64, Sha256::digest(data).into());
    let header = Header { spec: *spec, data_bytes, data_sha256, tensors: layout.tensors() };
    let mut bytes = Vec::new();
    append(&mut bytes, &header);
    layout.entries().for_each(|entry| append(&mut bytes, &entry));
    let mut file = Vec::with_capacity(PREFIX + bytes.len() + ALIGN + data.len());
    file.extend_from_slice(&MAGIC);
    file.push(VERSION);
    file.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    file.extend_from_slice(&crc32(&bytes).to_le_bytes());
    file.extend_from_slice(&bytes);
    file.resize(file.len().next_multiple_of(ALIGN), 0);
    file.extend_from_slice(data);
    file
}

/// Appends a value in postcard.
fn append(out: &mut Vec<u8>, value: &impl serde::Serialize) {
    let mut buffer = [0; 256];
    // The longest, the header's first part, takes at most 5 bytes an integer: far below 256.
    if let Ok(bytes) = postcard::to_slice(value, &mut buffer) {
        out.extend_from_slice(bytes);
    }
}

struct Writer<'s, 't> {
    spec: &'s EncoderSpec,
    layout: Layout,
    values: BTreeMap<String, &'t [f32]>,
    data: Vec<u8>,
}

impl<'t> Writer<'_, 't> {
    fn embedding(&mut self) -> Result<(), NativeError> {
        let grid = self.spec.grid().map_err(SpecError::from)?;
        let (d, p, c) = (self.spec.dim as usize, self.spec.patch_size as usize, self.spec.channels as usize);
        let pixels = &self.spec.pixels;
        let weight = self.value("patch_embed.proj.weight");
        // A weight for pixels less 128, and what the normalisation adds to the bias.
        let mut folded = vec![0.0; weight.len()];
        let mut bias: Vec<f64> = self.value("patch_embed.proj.bias").iter().map(|b| f64::from(*b)).collect();
        for (row, bias) in bias.iter_mut().enumerate() {
            for channel in 0..c {
                let (mean, std) = (f64::from(pixels.mean[channel]), f64::from(pixels.std[channel]));
                for pixel in 0..p * p {
                    let value = f64::from(weight[(row * c + channel) * p * p + pixel]) / (255.0 * std);
                    folded[(row * p * p + pixel) * c + channel] = value as f32;
                    *bias += value * (128.0 - 255.0 * mean);
                }
            }
        }
        self.quantized(0, [Kind::PatchWeight, Kind::PatchScale], &quantize_patches(&folded, p, c));

        let cls_token = self.value("cls_token");
        let (cls, positions) = match self.spec.position {
            PositionKind::SinCos2d => (cls_token.to_vec(), sincos_2d_table(&grid, d, false)),
            PositionKind::Stored => {
                let (cls_position, positions) = self.value("pos_embed").split_at(d);
                (cls_token.iter().zip(cls_position).map(|(a, b)| a + b).collect(), positions.to_vec())
            }
        };
        let add = |(i, position): (usize, &f32)| (f64::from(*position) + bias[i % d]) as f32;
        let positions: Vec<f32> = positions.iter().enumerate().map(add).collect();
        self.floats(0, Kind::Positions, &positions);
        self.floats(0, Kind::Cls, &cls);
        Ok(())
    }

    fn block(&mut self, block: u32) {
        let name = |part: &str| format!("blocks.{block}.{part}");
        self.norm(block, &name("norm1"), [Kind::Norm1Gamma, Kind::Norm1Beta]);
        self.linear(block, &name("attn.qkv"), [Kind::QkvWeight, Kind::QkvScale, Kind::QkvBias]);
        self.linear(block, &name("attn.proj"), [Kind::ProjWeight, Kind::ProjScale, Kind::ProjBias]);
        self.norm(block, &name("norm2"), [Kind::Norm2Gamma, Kind::Norm2Beta]);
        self.linear(block, &name("mlp.fc1"), [Kind::Fc1Weight, Kind::Fc1Scale, Kind::Fc1Bias]);
        self.linear(block, &name("mlp.fc2"), [Kind::Fc2Weight, Kind::Fc2Scale, Kind::Fc2Bias]);
    }

    fn norm(&mut self, block: u32, name: &str, [gamma, beta]: [Kind; 2]) {
        let (weight, bias) = (self.value(&format!("{name}.weight")), self.value(&format!("{name}.bias")));
        self.floats(block, gamma, weight);
        self.floats(block, beta, bias);
    }

    fn linear(&mut self, block: u32, name: &str, [weight, scale, bias]: [Kind; 3]) {
        let Some((_, k)) = self.layout.matrix(weight) else { return };
        let quantized = quantize_rows(self.value(&format!("{name}.weight")), k);
        self.quantized(block, [weight, scale], &quantized);
        let values = self.value(&format!("{name}.bias"));
        self.floats(block, bias, values);
    }

    fn quantized(&mut self, block: u32, [weight, scale]: [Kind; 2], quantized: &Quantized) {
        let Some((n, k)) = self.layout.matrix(weight) else { return };
        let mut packed = vec![0; packed_len(n, k)];
        // Lengths were checked with the parameters'.
        if pack(&quantized.values, n, k, &mut packed) {
            self.place(block, weight).copy_from_slice(bytemuck::cast_slice(&packed));
        }
        let mut scales = quantized.scales.clone();
        scales.resize(padded_n(n), 1.0);
        self.floats(block, scale, &scales);
    }

    /// Writes floats; what pads stays zero.
    fn floats(&mut self, block: u32, kind: Kind, values: &[f32]) {
        for (place, value) in self.place(block, kind).as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *place = value.to_le_bytes();
        }
    }

    fn place(&mut self, block: u32, kind: Kind) -> &mut [u8] {
        let entry = self.layout.entry(kind, block);
        &mut self.data[entry.offset as usize..][..entry.bytes as usize]
    }

    /// All names were looked up before.
    fn value(&self, name: &str) -> &'t [f32] {
        self.values.get(name).copied().unwrap_or(&[])
    }
}
