//! `encoder.native`, read in place: from a mapped file, from flash, or from a buffer.
//!
//! ```text
//! 0   8   "MAENATV1": seven letters and the version
//! 8   4   length of the header, u32
//! 12  4   CRC-32 (ISO-HDLC) of the header
//! 16      the header in postcard: EncoderSpec, length and SHA-256 of the data, directory
//!         zeros up to the next multiple of 64
//!         the data: each tensor at a multiple of 64
//! ```
//!
//! All numbers are little-endian. See docs/models.md.

pub use super::prefix::{FILE_NAME, MAGIC, PREFIX, VERSION};

use super::{
    error::{NativeError, Part},
    layout::{ALIGN, Entry, Kind, Layout, padded_k},
    pack::{PACKED_STEP, packed_tile},
    product::Product,
};
use common::{model::EncoderSpec, wire::crc32};
use sha2::{Digest as _, Sha256};

/// The header's part before the directory.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Header {
    pub(super) spec: EncoderSpec,
    pub(super) data_bytes: u64,
    pub(super) data_sha256: [u8; 32],
    pub(super) tensors: u64,
}

/// A checked native model; its tensors are views of the bytes that it was read from.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    spec: EncoderSpec,
    layout: Layout,
    sha256: [u8; 32],
    data: &'a [u8],
}

/// A linear layer: `y[n] = sum_k(x[k] * weight[n, k]) * scale[n] + bias[n]`.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// Weights in tiles, `[N / 16][K / 4][16][4]`; -127..=127.
    pub weight: &'a [i8],
    /// `[N]`, padded to whole tiles: the value of one step of the weight.
    pub scale: &'a [f32],
    /// `[N]`, padded to whole tiles; empty for the patch embedding, whose bias is part of the positions.
    pub bias: &'a [f32],
    /// Output channels.
    pub n: usize,
    /// Input channels.
    pub k: usize,
    /// Input channels rounded up to a multiple of 4; the weights of those added are zero.
    pub k_padded: usize,
}

/// A LayerNorm's parameters, `[D]` each.
#[derive(Debug, Clone, Copy)]
pub struct Norm<'a> {
    /// Multiplied with the normalised values.
    pub gamma: &'a [f32],
    /// Added after that.
    pub beta: &'a [f32],
}

/// One transformer block.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Before attention.
    pub norm1: Norm<'a>,
    /// `[3D, D]`: queries, keys, values; in each, head after head.
    pub qkv: Linear<'a>,
    /// `[D, D]`.
    pub proj: Linear<'a>,
    /// Before the MLP.
    pub norm2: Norm<'a>,
    /// `[mlp, D]`.
    pub fc1: Linear<'a>,
    /// `[D, mlp]`.
    pub fc2: Linear<'a>,
}

impl<'a> Linear<'a> {
    /// The product of `a` (`[M, lda]`, with `k_padded` used values a row) by these weights into `c` (`[M, ldc]`).
    pub fn product<'c>(&self, a: &'c [i8], lda: usize, m: usize, c: &'c mut [i32], ldc: usize) -> Product<'c>
    where
        'a: 'c,
    {
        let (b_tile, b_step) = (packed_tile(self.k), PACKED_STEP);
        Product { a, unsigned: false, lda, m, b: self.weight, b_tile, b_step, n: self.n, k: self.k_padded, c, ldc }
    }
}

impl<'a> Model<'a> {
    /// Checks everything: magic, version, checksums, description, directory, and the range of every value. `bytes`:
    /// the whole file, at an address that is a multiple of 4; of 64 is best.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NativeError> {
        let found = bytes.len() as u64;
        let cut = |needed: u64| NativeError::Truncated { needed, found };
        let (prefix, rest) = bytes.split_first_chunk::<PREFIX>().ok_or(cut(PREFIX as u64))?;
        let [magic @ .., version, l0, l1, l2, l3, c0, c1, c2, c3] = prefix;
        if *magic != MAGIC {
            return Err(NativeError::Magic);
        }
        if *version != VERSION {
            return Err(NativeError::Version(char::from(*version)));
        }
        let header_bytes = u32::from_le_bytes([*l0, *l1, *l2, *l3]);
        let crc = u32::from_le_bytes([*c0, *c1, *c2, *c3]);
        let header_end = PREFIX as u64 + u64::from(header_bytes);
        let header =
            usize::try_from(header_bytes).ok().and_then(|length| rest.get(..length)).ok_or(cut(header_end))?;
        if crc32(header) != crc {
            return Err(NativeError::Checksum(Part::Header));
        }
        let (header, layout) = read_header(header)?;

        let data_start = header_end.next_multiple_of(ALIGN as u64);
        let end = data_start.saturating_add(header.data_bytes);
        if found < end {
            return Err(cut(end));
        }
        if found > end {
            return Err(NativeError::TrailingBytes(found - end));
        }
        // Both lie within `bytes` now, so that they fit `usize`.
        let (padding, data) = bytes[header_end as usize..].split_at((data_start - header_end) as usize);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(NativeError::Header);
        }
        if data.as_ptr().align_offset(align_of::<f32>()) != 0 {
            return Err(NativeError::Misaligned);
        }
        if Sha256::digest(data)[..] != header.data_sha256 {
            return Err(NativeError::Checksum(Part::Data));
        }
        let model = Self { spec: header.spec, layout, sha256: header.data_sha256, data };
        model.check_values()?;
        Ok(model)
    }

    /// What every runtime must know.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// Where the tensors lie.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// SHA-256 of the data.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// The patch projection, for pixels less 128: normalisation is part of it. Its bias is part of the positions.
    #[must_use]
    pub fn patch_embed(&self) -> Linear<'a> {
        self.linear(0, Kind::PatchWeight, Kind::PatchScale, None)
    }

    /// `[L, D]`: each patch's position plus the patch projection's bias.
    #[must_use]
    pub fn positions(&self) -> &'a [f32] {
        self.floats(Kind::Positions, 0)
    }

    /// `[D]`: the class token plus its position.
    #[must_use]
    pub fn cls(&self) -> &'a [f32] {
        self.floats(Kind::Cls, 0)
    }

    /// Block `index`.
    ///
    /// # Panics
    /// If there is no such block.
    #[must_use]
    pub fn block(&self, index: usize) -> Block<'a> {
        assert!(index < self.spec.depth as usize, "block {index} of {}", self.spec.depth);
        let block = index as u32;
        Block {
            norm1: self.layer_norm(block, Kind::Norm1Gamma, Kind::Norm1Beta),
            qkv: self.linear(block, Kind::QkvWeight, Kind::QkvScale, Some(Kind::QkvBias)),
            proj: self.linear(block, Kind::ProjWeight, Kind::ProjScale, Some(Kind::ProjBias)),
            norm2: self.layer_norm(block, Kind::Norm2Gamma, Kind::Norm2Beta),
            fc1: self.linear(block, Kind::Fc1Weight, Kind::Fc1Scale, Some(Kind::Fc1Bias)),
            fc2: self.linear(block, Kind::Fc2Weight, Kind::Fc2Scale, Some(Kind::Fc2Bias)),
        }
    }

    /// All blocks in order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = Block<'a>> {
        let model = *self;
        (0..self.spec.depth as usize).map(move |index| model.block(index))
    }

    /// The final norm.
    #[must_use]
    pub fn norm(&self) -> Norm<'a> {
        self.layer_norm(0, Kind::NormGamma, Kind::NormBeta)
    }

    fn linear(&self, block: u32, weight: Kind, scale: Kind, bias: Option<Kind>) -> Linear<'a> {
        let (n, k) = self.layout.matrix(weight).unwrap_or((0, 0));
        Linear {
            weight: self.weights(weight, block),
            scale: self.floats(scale, block),
            bias: bias.map_or(&[], |bias| self.floats(bias, block)),
            n,
            k,
            k_padded: padded_k(k),
        }
    }

    fn layer_norm(&self, block: u32, gamma: Kind, beta: Kind) -> Norm<'a> {
        Norm { gamma: self.floats(gamma, block), beta: self.floats(beta, block) }
    }

    fn weights(&self, kind: Kind, block: u32) -> &'a [i8] {
        bytemuck::cast_slice(self.bytes(self.layout.entry(kind, block)))
    }

    /// The alignment was checked, offsets are multiples of 64.
    fn floats(&self, kind: Kind, block: u32) -> &'a [f32] {
        bytemuck::cast_slice(self.bytes(self.layout.entry(kind, block)))
    }

    fn bytes(&self, entry: Entry) -> &'a [u8] {
        &self.data[entry.offset as usize..][..entry.bytes as usize]
    }

    /// Kernels rely on weights above -128; one parameter that is no number would make every feature none.
    fn check_values(&self) -> Result<(), NativeError> {
        for Entry { kind, block, .. } in self.layout.entries() {
            if self.layout.matrix(kind).is_some() {
                // Whole chunks without an early end, so that the compiler vectorises it.
                let least = self.weights(kind, block).iter().fold(0, |least, weight| (*weight).min(least));
                if least < -127 {
                    return Err(NativeError::Value("the weights"));
                }
            } else if !self.floats(kind, block).iter().fold(true, |all, value| all & value.is_finite()) {
                return Err(NativeError::Value("the parameters"));
            }
        }
        Ok(())
    }
}

/// The header and the layout that its directory agrees with.
fn read_header(bytes: &[u8]) -> Result<(Header, Layout), NativeError> {
    let (header, mut rest) = postcard::take_from_bytes::<Header>(bytes).map_err(|_| NativeError::Header)?;
    let layout = Layout::new(&header.spec)?;
    if header.tensors != layout.tensors() || header.data_bytes != layout.data_bytes() {
        return Err(NativeError::Header);
    }
    for (index, expected) in layout.entries().enumerate() {
        let (entry, after) = postcard::take_from_bytes::<Entry>(rest).map_err(|_| NativeError::Header)?;
        if entry != expected {
            return Err(NativeError::Directory(u32::try_from(index).unwrap_or(u32::MAX)));
        }
        rest = after;
    }
    if rest.is_empty() { Ok((header, layout)) } else { Err(NativeError::Header) }
}
