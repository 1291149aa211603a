//! The images of the page: a folder's by number, and those that were dropped.

use crate::{data::dataset::Dataset, model::MaeConfig};
use imaging::{Crop, Pixels, resize};
use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

/// Dropped images that are kept.
const UPLOADS: usize = 16;
/// Images of the folder that are kept as they were prepared.
const RECENT: usize = 64;

/// Which image; `g7` is the folder's number 7, `u2` the second that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageId {
    /// Of the folder.
    Gallery(usize),
    /// Dropped.
    Upload(u64),
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gallery(index) => write!(f, "g{index}"),
            Self::Upload(number) => write!(f, "u{number}"),
        }
    }
}

impl FromStr for ImageId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match (text.strip_prefix('g'), text.strip_prefix('u')) {
            (Some(index), _) => index.parse().map(Self::Gallery).map_err(drop),
            (_, Some(number)) => number.parse().map(Self::Upload).map_err(drop),
            _ => Err(()),
        }
    }
}

/// An image of the model's size.
#[derive(Debug)]
pub struct View {
    /// `[H, W, C]`.
    pub pixels: Vec<u8>,
}

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// It is not, or no longer, here.
    #[error("there is no image {0} here any more: drop it again, or pick another")]
    Missing(ImageId),
    /// What was dropped is none.
    #[error("this cannot be shown: {0} (jpg, png, webp, tiff, bmp and pnm can)")]
    Unreadable(String),
    /// A file of the folder cannot be read.
    #[error("{0}")]
    Broken(String),
}

/// All images.
#[derive(Debug)]
pub struct Images {
    gallery: Option<Dataset>,
    size: (usize, usize, usize),
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    dropped: u64,
    uploads: VecDeque<(ImageId, Arc<View>)>,
    recent: VecDeque<(ImageId, Arc<View>)>,
}

impl Images {
    /// The images of `gallery`, if there is one, brought to the size of `model`.
    #[must_use]
    pub fn new(gallery: Option<Dataset>, model: &MaeConfig) -> Self {
        let size = (model.image_height, model.image_width, model.channels);
        Self { gallery, size, kept: Mutex::default() }
    }

    /// The folder's images.
    #[must_use]
    pub fn gallery(&self) -> Option<&Dataset> {
        self.gallery.as_ref()
    }

    /// Number of the folder's images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.gallery.as_ref().map_or(0, Dataset::len)
    }

    /// Class of an image by its folder's name, if the folder has classes.
    #[must_use]
    pub fn class(&self, index: usize) -> Option<&str> {
        let gallery = self.gallery.as_ref()?;
        gallery.classes().get(gallery.label(index)?).map(String::as_str)
    }

    /// The image as the model takes it.
    ///
    /// # Errors
    /// If it is not here, or its file is damaged.
    pub fn view(&self, id: ImageId) -> Result<Arc<View>, ImagesError> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.uploads.iter().chain(&kept.recent).find(|(own, _)| *own == id);
        if let Some((_, view)) = found {
            return Ok(view.clone());
        }
        drop(kept);
        let ImageId::Gallery(index) = id else { return Err(ImagesError::Missing(id)) };
        let view = Arc::new(self.read(index)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        keep(&mut kept.recent, RECENT, (id, view.clone()));
        Ok(view)
    }

    /// As [`Self::view`] for the folder's images; nothing is kept.
    ///
    /// # Errors
    /// As [`Self::view`].
    pub fn read(&self, index: usize) -> Result<View, ImagesError> {
        let gallery = self.gallery.as_ref().filter(|gallery| index < gallery.len());
        let gallery = gallery.ok_or(ImagesError::Missing(ImageId::Gallery(index)))?;
        let pixels = gallery.read(index).map_err(|error| ImagesError::Broken(format!("{error:#}")))?;
        self.prepare(&pixels).map_err(ImagesError::Broken)
    }

    /// Takes a file's content; the oldest of many goes.
    ///
    /// # Errors
    /// If it is no image, or too large a one.
    pub fn drop_in(&self, bytes: &[u8]) -> Result<ImageId, ImagesError> {
        let image = imaging::decode(bytes, self.size.2).map_err(ImagesError::Unreadable)?;
        let view = self.prepare(&image).map_err(ImagesError::Unreadable)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.dropped += 1;
        let id = ImageId::Upload(kept.dropped);
        keep(&mut kept.uploads, UPLOADS, (id, Arc::new(view)));
        Ok(id)
    }

    /// Other proportions are squashed, as everywhere where a whole image is encoded.
    fn prepare(&self, pixels: &Pixels) -> Result<View, String> {
        let (height, width, _) = self.size;
        let pixels = resize(pixels, Crop::whole(pixels), height, width).map_err(|error| error.to_string())?;
        Ok(View { pixels })
    }
}

fn keep(list: &mut VecDeque<(ImageId, Arc<View>)>, most: usize, item: (ImageId, Arc<View>)) {
    if list.len() == most {
        list.pop_front();
    }
    list.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, ImageFormat, RgbImage};
    use std::io::Cursor;

    fn config(channels: usize) -> MaeConfig {
        let spec = |text: &str| toml::from_str(text).expect("a config");
        spec(&format!(
            "image_height = 8\nimage_width = 16\nchannels = {channels}\npatch_size = 4\ndim = 8\ndepth = 1\nheads = 1\n\
             decoder_dim = 8\ndecoder_depth = 1\ndecoder_heads = 1\nmlp_ratio = 2.0\nnorm_pix_loss = true\n"
        ))
    }

    fn png(color: [u8; 3]) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        let image = DynamicImage::from(RgbImage::from_pixel(5, 7, image::Rgb(color)));
        image.write_to(&mut bytes, ImageFormat::Png).expect("png");
        bytes.into_inner()
    }

    #[test]
    fn dropped_images_are_kept_until_there_are_many() {
        let images = Images::new(None, &config(3));
        let first = images.drop_in(&png([1, 2, 3])).unwrap();
        assert_eq!(images.view(first).unwrap().pixels, [1, 2, 3].repeat(8 * 16));
        let ids: Vec<ImageId> = (0..UPLOADS).map(|_| images.drop_in(&png([9; 3])).unwrap()).collect();
        assert!(ids.iter().all(|id| images.view(*id).is_ok()));
        assert!(matches!(images.view(first), Err(ImagesError::Missing(id)) if id == first));
        assert_eq!(Images::new(None, &config(1)).drop_in(&png([9; 3])).unwrap(), ImageId::Upload(1));
    }

    #[test]
    fn what_is_no_image_is_refused_with_a_reason() {
        let images = Images::new(None, &config(3));
        let good = png([1, 2, 3]);
        // A PNG that says it has 65,535 pixels a side.
        let mut large = good.clone();
        large[16..24].copy_from_slice(&[0, 0, 255, 255, 0, 0, 255, 255]);
        for bad in [&b""[..], b"text", &good[..good.len() / 2], &large] {
            let error = images.drop_in(bad).unwrap_err();
            assert!(error.to_string().starts_with("this cannot be shown: "), "{error}");
        }
        for id in [ImageId::Gallery(0), ImageId::Upload(1)] {
            assert!(images.view(id).is_err());
        }
    }

    #[test]
    fn the_folder_is_read_by_number() {
        let images = Images::new(Some(Dataset::synthetic(1, 5, 8, 16)), &config(3));
        assert_eq!((images.len(), images.view(ImageId::Gallery(4)).unwrap().pixels.len()), (5, 8 * 16 * 3));
        assert!(images.class(4).is_some() && images.class(5).is_none());
        assert!(images.view(ImageId::Gallery(5)).is_err() && images.view(ImageId::Gallery(usize::MAX)).is_err());
    }

    #[test]
    fn names_read_back() {
        for id in [ImageId::Gallery(0), ImageId::Gallery(17), ImageId::Upload(3)] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", "g", "u-1", "x1", "g1.5", "g99999999999999999999999"] {
            assert_eq!(bad.parse::<ImageId>(), Err(()), "{bad}");
        }
    }
}
