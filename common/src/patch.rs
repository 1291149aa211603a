//! Cutting images into patches and putting them together again.
//!
//! A patch vector is `(row_in_patch * p + col_in_patch) * C + channel` (channel fastest); patches are
//! numbered row-major. Images are `[H, W, C]`, interleaved. Source: MAE §3 and `patchify` of the reference.

/// Geometry of the patches of one image: `rows x cols` patches of `patch_size x patch_size x channels`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PatchGrid {
    rows: usize,
    cols: usize,
    patch_size: usize,
    channels: usize,
}

/// Why an image cannot be cut into patches, or a buffer does not fit its grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PatchError {
    /// Patch size zero.
    #[error("the patch size is 0")]
    ZeroPatch,
    /// Channels outside 1..=4.
    #[error("{0} channels: images have 1 to 4")]
    Channels(usize),
    /// The image is smaller than one patch.
    #[error("an image of {height}x{width} pixels is smaller than one patch of {patch_size}x{patch_size}")]
    TooSmall {
        /// Image height, pixels.
        height: usize,
        /// Image width, pixels.
        width: usize,
        /// Patch side, pixels.
        patch_size: usize,
    },
    /// The patch size does not divide the image.
    #[error("an image of {height}x{width} pixels is not a whole number of patches of {patch_size}x{patch_size}")]
    NotDivisible {
        /// Image height, pixels.
        height: usize,
        /// Image width, pixels.
        width: usize,
        /// Patch side, pixels.
        patch_size: usize,
    },
    /// The image has more pixels or patches than `u32` can number.
    #[error("the image is too large")]
    TooLarge,
    /// A buffer has the wrong length.
    #[error("{what} holds {found} values where {expected} are needed")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Values needed.
        expected: usize,
        /// Values found.
        found: usize,
    },
    /// A patch number lies outside the grid.
    #[error("patch {index} does not exist in a grid of {patches}")]
    Index {
        /// The patch asked for.
        index: usize,
        /// Patches in the grid.
        patches: usize,
    },
}

impl PatchGrid {
    /// The grid of a `height x width` image.
    ///
    /// # Errors
    /// If the patch is empty or larger than the image, does not divide it, or channels are outside 1..=4.
    pub fn new(height: usize, width: usize, patch_size: usize, channels: usize) -> Result<Self, PatchError> {
        if patch_size == 0 {
            return Err(PatchError::ZeroPatch);
        }
        if !(1..=4).contains(&channels) {
            return Err(PatchError::Channels(channels));
        }
        if height < patch_size || width < patch_size {
            return Err(PatchError::TooSmall { height, width, patch_size });
        }
        if !height.is_multiple_of(patch_size) || !width.is_multiple_of(patch_size) {
            return Err(PatchError::NotDivisible { height, width, patch_size });
        }
        let values = height.checked_mul(width).and_then(|pixels| pixels.checked_mul(channels));
        if values.is_none_or(|values| u32::try_from(values).is_err()) {
            return Err(PatchError::TooLarge);
        }
        Ok(Self { rows: height / patch_size, cols: width / patch_size, patch_size, channels })
    }

    /// Rows of patches.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of patches.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Side of a patch, pixels.
    #[must_use]
    pub fn patch_size(&self) -> usize {
        self.patch_size
    }

    /// Channels a pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Image height, pixels.
    #[must_use]
    pub fn height(&self) -> usize {
        self.rows * self.patch_size
    }

    /// Image width, pixels.
    #[must_use]
    pub fn width(&self) -> usize {
        self.cols * self.patch_size
    }

    /// Patches of one image (`L`).
    #[must_use]
    pub fn patches(&self) -> usize {
        self.rows * self.cols
    }

    /// Values of one patch vector, `p * p * C`.
    #[must_use]
    pub fn patch_dim(&self) -> usize {
        self.patch_size * self.patch_size * self.channels
    }

    /// Values of one image, `H * W * C`.
    #[must_use]
    pub fn image_len(&self) -> usize {
        self.patches() * self.patch_dim()
    }

    /// Copies patch `index` out of `image` (`[H, W, C]`) into `out` (`[p*p*C]`).
    ///
    /// # Errors
    /// If a buffer's length or the index does not fit the grid.
    pub fn extract<T: Copy>(&self, image: &[T], index: usize, out: &mut [T]) -> Result<(), PatchError> {
        check("the image", self.image_len(), image.len())?;
        check("the patch", self.patch_dim(), out.len())?;
        let run = self.patch_size * self.channels;
        for (start, row) in self.row_starts(index)?.zip(out.chunks_exact_mut(run)) {
            row.copy_from_slice(&image[start..start + run]);
        }
        Ok(())
    }

    /// Copies `patch` (`[p*p*C]`) into place `index` of `image` (`[H, W, C]`).
    ///
    /// # Errors
    /// If a buffer's length or the index does not fit the grid.
    pub fn insert<T: Copy>(&self, image: &mut [T], index: usize, patch: &[T]) -> Result<(), PatchError> {
        check("the image", self.image_len(), image.len())?;
        check("the patch", self.patch_dim(), patch.len())?;
        let run = self.patch_size * self.channels;
        for (start, row) in self.row_starts(index)?.zip(patch.chunks_exact(run)) {
            image[start..start + run].copy_from_slice(row);
        }
        Ok(())
    }

    /// All patches in order. `image`: `[H, W, C]`; `out`: `[L, p*p*C]`.
    ///
    /// # Errors
    /// If a buffer's length does not fit the grid.
    pub fn patchify<T: Copy>(&self, image: &[T], out: &mut [T]) -> Result<(), PatchError> {
        check("the patches", self.image_len(), out.len())?;
        for (index, patch) in out.chunks_exact_mut(self.patch_dim()).enumerate() {
            self.extract(image, index, patch)?;
        }
        Ok(())
    }

    /// Only the patches named by `ids_keep` (`[V]`), in that order. `image`: `[H, W, C]`; `out`: `[V, p*p*C]`.
    ///
    /// # Errors
    /// If a buffer's length or an index does not fit the grid.
    pub fn patchify_visible<T: Copy>(&self, image: &[T], ids_keep: &[u32], out: &mut [T]) -> Result<(), PatchError> {
        check("the visible patches", ids_keep.len() * self.patch_dim(), out.len())?;
        for (id, patch) in ids_keep.iter().zip(out.chunks_exact_mut(self.patch_dim())) {
            self.extract(image, *id as usize, patch)?;
        }
        Ok(())
    }

    /// The inverse of [`Self::patchify`]. `patches`: `[L, p*p*C]`; `image`: `[H, W, C]`.
    ///
    /// # Errors
    /// If a buffer's length does not fit the grid.
    pub fn unpatchify<T: Copy>(&self, patches: &[T], image: &mut [T]) -> Result<(), PatchError> {
        check("the patches", self.image_len(), patches.len())?;
        for (index, patch) in patches.chunks_exact(self.patch_dim()).enumerate() {
            self.insert(image, index, patch)?;
        }
        Ok(())
    }

    /// Offsets in the image of the rows of patch `index`.
    fn row_starts(&self, index: usize) -> Result<impl Iterator<Item = usize> + use<>, PatchError> {
        if index >= self.patches() {
            return Err(PatchError::Index { index, patches: self.patches() });
        }
        let (stride, p) = (self.width() * self.channels, self.patch_size);
        let first = index / self.cols * p * stride + index % self.cols * p * self.channels;
        Ok((0..p).map(move |row| first + row * stride))
    }
}

fn check(what: &'static str, expected: usize, found: usize) -> Result<(), PatchError> {
    if expected == found { Ok(()) } else { Err(PatchError::Length { what, expected, found }) }
}
