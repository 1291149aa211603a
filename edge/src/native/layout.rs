//! Where each tensor lies in the data of an `encoder.native`: a pure function of the [`EncoderSpec`].
//!
//! Every tensor begins at a multiple of [`ALIGN`]. Order: patch weight, patch scale, positions, class token; then 16
//! tensors a block ([`BLOCK_KINDS`]); then the final norm's two.

use super::error::NativeError;
use common::model::EncoderSpec;

/// Alignment of each tensor, bytes: a cache line and the widest vector register.
pub const ALIGN: usize = 64;
/// Output channels in a tile of weights.
pub const TILE: usize = 16;
/// Input channels that lie beside each other in a tile.
pub const STEP: usize = 4;
/// Most input channels of a product: the i32 sums of `MAX_K` products of -128..=127 by -127..=127 cannot overflow.
pub const MAX_K: usize = 1 << 17;

/// What a tensor is. Its number in the file is its place here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[expect(missing_docs, reason = "the names are those of `Block` and `Linear`")]
pub enum Kind {
    PatchWeight,
    PatchScale,
    Positions,
    Cls,
    Norm1Gamma,
    Norm1Beta,
    QkvWeight,
    QkvScale,
    QkvBias,
    ProjWeight,
    ProjScale,
    ProjBias,
    Norm2Gamma,
    Norm2Beta,
    Fc1Weight,
    Fc1Scale,
    Fc1Bias,
    Fc2Weight,
    Fc2Scale,
    Fc2Bias,
    NormGamma,
    NormBeta,
}

/// The tensors before the blocks, in order.
pub const HEAD_KINDS: [Kind; 4] = [Kind::PatchWeight, Kind::PatchScale, Kind::Positions, Kind::Cls];
/// The tensors of one block, in order.
pub const BLOCK_KINDS: [Kind; 16] = [
    Kind::Norm1Gamma,
    Kind::Norm1Beta,
    Kind::QkvWeight,
    Kind::QkvScale,
    Kind::QkvBias,
    Kind::ProjWeight,
    Kind::ProjScale,
    Kind::ProjBias,
    Kind::Norm2Gamma,
    Kind::Norm2Beta,
    Kind::Fc1Weight,
    Kind::Fc1Scale,
    Kind::Fc1Bias,
    Kind::Fc2Weight,
    Kind::Fc2Scale,
    Kind::Fc2Bias,
];
/// The tensors after the blocks, in order.
pub const TAIL_KINDS: [Kind; 2] = [Kind::NormGamma, Kind::NormBeta];

/// One line of the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Entry {
    /// Which tensor.
    pub kind: Kind,
    /// Which block's; 0 for what belongs to none.
    pub block: u32,
    /// First byte, counted from the start of the data.
    pub offset: u64,
    /// Length in bytes, without the padding that follows.
    pub bytes: u64,
}

/// The places of all tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    dim: u64,
    depth: u32,
    patches: u64,
    patch_dim: u64,
    mlp_dim: u64,
    head_bytes: u64,
    block_bytes: u64,
    data_bytes: u64,
}

impl Layout {
    /// The layout of an encoder.
    ///
    /// # Errors
    /// If it is impossible, or larger than the format or this machine's addresses allow.
    pub fn new(spec: &EncoderSpec) -> Result<Self, NativeError> {
        spec.validate()?;
        let grid = spec.grid().map_err(common::model::SpecError::from)?;
        let (patch_dim, mlp_dim) = (grid.patch_dim(), spec.mlp_dim());
        if mlp_dim == 0 {
            return Err(common::model::SpecError::NotPositive("the MLP's width").into());
        }
        for (values, what) in [
            (patch_dim, "a patch has more than 131072 values"),
            (spec.dim as usize, "it is wider than 131072"),
            (mlp_dim, "its MLP is wider than 131072"),
        ] {
            if values > MAX_K {
                return Err(NativeError::TooLarge(what));
            }
        }
        let mut layout = Self {
            dim: spec.dim.into(),
            depth: spec.depth,
            patches: grid.patches() as u64,
            patch_dim: patch_dim as u64,
            mlp_dim: mlp_dim as u64,
            head_bytes: 0,
            block_bytes: 0,
            data_bytes: 0,
        };
        let sum = |kinds: &[Kind]| kinds.iter().try_fold(0_u64, |sum, kind| sum.checked_add(layout.room(*kind)));
        let large = NativeError::TooLarge("its data would not fit into this machine's memory");
        let (head, block) = (sum(&HEAD_KINDS).ok_or(large)?, sum(&BLOCK_KINDS).ok_or(large)?);
        let tail = sum(&TAIL_KINDS).ok_or(large)?;
        let data = block.checked_mul(spec.depth.into()).and_then(|all| all.checked_add(head)?.checked_add(tail));
        // Half of the addresses: slices may be no longer.
        let data = data.filter(|bytes| *bytes <= (usize::MAX / 2) as u64).ok_or(large)?;
        (layout.head_bytes, layout.block_bytes, layout.data_bytes) = (head, block, data);
        Ok(layout)
    }

    /// Tensors in the directory.
    #[must_use]
    pub fn tensors(&self) -> u64 {
        (HEAD_KINDS.len() + TAIL_KINDS.len()) as u64 + BLOCK_KINDS.len() as u64 * u64::from(self.depth)
    }

    /// Length of the data, bytes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// All entries in the order of the directory.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let blocks = (0..self.depth).flat_map(|block| BLOCK_KINDS.map(|kind| (kind, block)));
        let all = HEAD_KINDS.map(|kind| (kind, 0)).into_iter().chain(blocks).chain(TAIL_KINDS.map(|kind| (kind, 0)));
        all.map(|(kind, block)| self.entry(kind, block))
    }

    /// The place of one tensor; `block` is of no account for what belongs to none.
    #[must_use]
    pub fn entry(&self, kind: Kind, block: u32) -> Entry {
        let before = |kinds: &[Kind]| -> Option<u64> {
            let place = kinds.iter().position(|known| *known == kind)?;
            Some(kinds[..place].iter().map(|kind| self.room(*kind)).sum())
        };
        let own = self.head_bytes + self.block_bytes * u64::from(block);
        let (block, offset) = if let Some(offset) = before(&HEAD_KINDS) {
            (0, offset)
        } else if let Some(offset) = before(&BLOCK_KINDS) {
            (block, own + offset)
        } else {
            let offset = before(&TAIL_KINDS).unwrap_or(0);
            (0, self.head_bytes + self.block_bytes * u64::from(self.depth) + offset)
        };
        Entry { kind, block, offset, bytes: self.bytes(kind) }
    }

    /// Output and input channels of a matrix; `None` for other tensors.
    #[must_use]
    pub fn matrix(&self, kind: Kind) -> Option<(usize, usize)> {
        let (n, k) = match kind {
            Kind::PatchWeight => (self.dim, self.patch_dim),
            Kind::QkvWeight => (3 * self.dim, self.dim),
            Kind::ProjWeight => (self.dim, self.dim),
            Kind::Fc1Weight => (self.mlp_dim, self.dim),
            Kind::Fc2Weight => (self.dim, self.mlp_dim),
            _ => return None,
        };
        Some((n as usize, k as usize))
    }

    /// Bytes of a tensor. No overflow: widths are at most [`MAX_K`], patches fit `u32`.
    fn bytes(&self, kind: Kind) -> u64 {
        if let Some((n, k)) = self.matrix(kind) {
            return padded_n(n) as u64 * padded_k(k) as u64;
        }
        let values = match kind {
            Kind::QkvScale | Kind::QkvBias => padded_n(3 * self.dim as usize) as u64,
            Kind::Fc1Scale | Kind::Fc1Bias => padded_n(self.mlp_dim as usize) as u64,
            Kind::PatchScale | Kind::ProjScale | Kind::ProjBias | Kind::Fc2Scale | Kind::Fc2Bias => {
                padded_n(self.dim as usize) as u64
            }
            Kind::Positions => self.patches * self.dim,
            _ => self.dim,
        };
        4 * values
    }

    /// Bytes of a tensor with the padding that follows.
    fn room(&self, kind: Kind) -> u64 {
        self.bytes(kind).next_multiple_of(ALIGN as u64)
    }
}

/// Output channels rounded up to whole tiles.
#[must_use]
pub const fn padded_n(n: usize) -> usize {
    n.next_multiple_of(TILE)
}

/// Input channels rounded up to whole steps.
#[must_use]
pub const fn padded_k(k: usize) -> usize {
    k.next_multiple_of(STEP)
}
