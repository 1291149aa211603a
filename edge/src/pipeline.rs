//! From the pixels of a frame to wire frames, without a heap.

use crate::head::Classified;
use common::{
    model::{EncoderSpec, Pooling},
    patch::{PatchError, PatchGrid},
    wire::{
        ClassNames, ClassScore, FeaturePart, Hello, MAX_FRAME, MAX_NAMES, MAX_VALUES, Message, Sender, Statistics,
        WireError, class_name_of, name_of,
    },
};
use embedded_io::Write;

/// Extracts and normalises the visible patches only. `pixels`: `[H, W, C]`; `ids_keep`: `[V]`; `out`: `[V, P]`;
/// `scratch`: at least `[P]`.
///
/// # Errors
/// If a buffer's length or a patch number does not fit the grid.
pub fn visible_patches(
    spec: &EncoderSpec,
    grid: &PatchGrid,
    pixels: &[u8],
    ids_keep: &[u32],
    scratch: &mut [u8],
    out: &mut [f32],
) -> Result<(), PatchError> {
    let values = grid.patch_dim();
    let length = |what, expected, found| PatchError::Length { what, expected, found };
    let found = scratch.len();
    let scratch = scratch.get_mut(..values).ok_or(length("the scratch buffer", values, found))?;
    if out.len() != ids_keep.len() * values {
        return Err(length("the visible patches", ids_keep.len() * values, out.len()));
    }
    for (id, patch) in ids_keep.iter().zip(out.chunks_exact_mut(values)) {
        grid.extract(pixels, *id as usize, scratch)?;
        spec.pixels.normalize_image(scratch, grid.channels(), patch);
    }
    Ok(())
}

/// Extracts the visible patches only, as the camera gave them. `pixels`: `[H, W, C]`; `ids_keep`: `[V]`; `out`:
/// `[V, P]`.
///
/// # Errors
/// If a buffer's length or a patch number does not fit the grid.
pub fn visible_pixels(grid: &PatchGrid, pixels: &[u8], ids_keep: &[u32], out: &mut [u8]) -> Result<(), PatchError> {
    let expected = ids_keep.len() * grid.patch_dim();
    if out.len() != expected {
        return Err(PatchError::Length { what: "the visible patches", expected, found: out.len() });
    }
    for (id, patch) in ids_keep.iter().zip(out.chunks_exact_mut(grid.patch_dim())) {
        grid.extract(pixels, *id as usize, patch)?;
    }
    Ok(())
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError<E> {
    /// The message is longer than a frame.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The port failed.
    #[error("the port failed: {0}")]
    Port(E),
}

/// What belongs to a feature beside its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureInfo<'a> {
    /// Number of the image since the start.
    pub frame: u32,
    /// The image's name; its end is sent if it is long.
    pub name: &'a str,
    /// Patches that were encoded (`V`).
    pub kept: u32,
    /// Patches of the image (`L`).
    pub patches: u32,
    /// Which feature this is.
    pub pooling: Pooling,
    /// Time of the encoding, microseconds.
    pub micros: u32,
}

/// The board's end of the line.
#[derive(Debug)]
pub struct Link<W> {
    port: W,
    sender: Sender,
    bytes: u64,
}

impl<W: Write> Link<W> {
    /// Opens the conversation: a zero that ends whatever noise was there, then the greeting.
    ///
    /// # Errors
    /// If the port fails.
    pub fn open(port: W, hello: Hello) -> Result<Self, SendError<W::Error>> {
        let mut link = Self { port, sender: Sender::new(), bytes: 1 };
        link.port.write_all(&[0]).map_err(SendError::Port)?;
        link.send(&Message::Hello(hello))?;
        Ok(link)
    }

    /// Sends one message and waits until the port has taken it.
    ///
    /// # Errors
    /// If the message is too long or the port fails.
    pub fn send(&mut self, message: &Message) -> Result<(), SendError<W::Error>> {
        let mut buffer = [0; MAX_FRAME];
        let frame = self.sender.encode(message, &mut buffer)?;
        self.port.write_all(frame).map_err(SendError::Port)?;
        self.bytes += frame.len() as u64;
        Ok(())
    }

    /// Sends the names of the classes, in as many frames as they need.
    ///
    /// # Errors
    /// If the port fails.
    pub fn classes<N: AsRef<str>>(&mut self, names: &[N]) -> Result<(), SendError<W::Error>> {
        for (index, part) in names.chunks(MAX_NAMES).enumerate() {
            self.send(&Message::Classes(ClassNames {
                total: names.len() as u32,
                offset: (index * MAX_NAMES) as u32,
                names: part.iter().map(|name| class_name_of(name.as_ref())).collect(),
            }))?;
        }
        Ok(())
    }

    /// Sends the class of image `frame`; its feature must be sent next.
    ///
    /// # Errors
    /// If the port fails.
    pub fn class(&mut self, frame: u32, found: Classified) -> Result<(), SendError<W::Error>> {
        self.send(&Message::Class(ClassScore { frame, class: found.class, score: found.score }))
    }

    /// Sends a feature (`[D]`), in as many frames as it needs.
    ///
    /// # Errors
    /// If the port fails.
    pub fn feature(&mut self, info: FeatureInfo<'_>, feature: &[f32]) -> Result<(), SendError<W::Error>> {
        for (index, values) in feature.chunks(MAX_VALUES).enumerate() {
            self.send(&Message::Features(FeaturePart {
                frame: info.frame,
                name: name_of(if index == 0 { info.name } else { "" }),
                kept: info.kept,
                patches: info.patches,
                pooling: info.pooling,
                micros: info.micros,
                total: feature.len() as u32,
                offset: (index * MAX_VALUES) as u32,
                values: values.iter().copied().collect(),
            }))?;
        }
        self.port.flush().map_err(SendError::Port)
    }

    /// Sends figures; the number of bytes is filled in here.
    ///
    /// # Errors
    /// If the port fails.
    pub fn statistics(&mut self, statistics: Statistics) -> Result<(), SendError<W::Error>> {
        self.send(&Message::Statistics(Statistics { bytes: self.bytes, ..statistics }))?;
        self.port.flush().map_err(SendError::Port)
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::wire::{Assembler, Decoder};

    #[test]
    fn visible_patches_are_the_normalised_patches_of_the_image() {
        let spec = spec();
        let grid = spec.grid().unwrap();
        let pixels: Vec<u8> = (0..grid.image_len()).map(|i| (i * 7 % 256) as u8).collect();
        let mut normalised = vec![0.0; grid.image_len()];
        spec.pixels.normalize_image(&pixels, 3, &mut normalised);
        let mut expected = vec![0.0; 3 * grid.patch_dim()];
        grid.patchify_visible(&normalised, &[5, 0, 2], &mut expected).unwrap();
        let (mut scratch, mut found) = (vec![0; grid.patch_dim()], vec![0.0; expected.len()]);
        visible_patches(&spec, &grid, &pixels, &[5, 0, 2], &mut scratch, &mut found).unwrap();
        assert_eq!(found, expected);
        let mut raw = vec![0; expected.len()];
        visible_pixels(&grid, &pixels, &[5, 0, 2], &mut raw).unwrap();
        spec.pixels.normalize_image(&raw, 3, &mut found);
        assert_eq!(found, expected);
        assert!(visible_pixels(&grid, &pixels, &[6], &mut raw[..12]).is_err());
        assert!(visible_pixels(&grid, &pixels, &[1, 2], &mut raw[..12]).is_err());
        assert!(visible_pixels(&grid, &pixels[1..], &[1], &mut raw[..12]).is_err());
        assert!(visible_patches(&spec, &grid, &pixels, &[6], &mut scratch, &mut found[..12]).is_err());
        assert!(visible_patches(&spec, &grid, &pixels, &[1, 2], &mut scratch, &mut found[..12]).is_err());
        assert!(visible_patches(&spec, &grid, &pixels, &[1], &mut scratch[..3], &mut found[..12]).is_err());
    }

    #[test]
    fn a_long_feature_arrives_whole() {
        let mut line = Vec::new();
        let feature: Vec<f32> = (0..500).map(|i| i as f32).collect();
        let hello = Hello::new(&spec(), Pooling::Cls, "test", "test");
        let mut link = Link::open(&mut line, hello).unwrap();
        let info = FeatureInfo { frame: 3, name: "x.png", kept: 2, patches: 6, pooling: Pooling::Cls, micros: 10 };
        link.classes(&["cat", "dog"]).unwrap();
        link.class(3, Classified { class: 1, score: 0.75 }).unwrap();
        link.feature(info, &feature).unwrap();
        link.statistics(Statistics { frames: 1, ..Statistics::default() }).unwrap();
        assert_eq!(link.bytes(), line.len() as u64);
        let (mut decoder, mut assembler) = (Decoder::new(), Assembler::default());
        let received: Vec<_> = line.iter().filter_map(|b| decoder.push(*b)).map(Result::unwrap).collect();
        let features: Vec<_> = received.iter().filter_map(|r| assembler.push(r)).collect();
        assert_eq!((features.len(), features[0].values.len(), features[0].name.as_str()), (1, 500, "x.png"));
        assert_eq!(features[0].values, feature);
        assert_eq!(features[0].class, Some(ClassScore { frame: 3, class: 1, score: 0.75 }));
    }

    fn spec() -> EncoderSpec {
        use common::{model::*, normalize::PixelStats};
        EncoderSpec {
            image_height: 4,
            image_width: 6,
            channels: 3,
            patch_size: 2,
            dim: 8,
            depth: 1,
            heads: 2,
            mlp_ratio: 4.0,
            norm_eps: 1e-6,
            position: PositionKind::SinCos2d,
            pooling: Pooling::Mean,
            feature_dim: 8,
            pixels: PixelStats::IMAGENET,
            hash: ModelHash::default(),
        }
    }
}
