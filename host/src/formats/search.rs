//! Looking for what shapes do not tell: in what a person says, in the file, in the files beside it; or guessing.

use super::{
    error::ImportError,
    finding::{Assumption, Finding, Heads, Provenance},
    published,
    source::Facts,
    timm,
};
use common::normalize::PixelStats;
use serde_json::{Map, Value as Json};

/// Objects within objects that describe the encoder, in timm's files and in those of trainings.
const NESTED: [&str; 7] = ["model_args", "pretrained_cfg", "model", "backbone", "encoder", "kwargs", "dataset_meta"];
/// How deep they are looked for.
const DEPTH: usize = 2;
/// Widths of MAE-Lite's encoder and decoder, whose twelve heads no file states (arXiv 2205.14443).
const MAE_LITE: (usize, usize, usize) = (192, 96, 12);

/// What was found so far.
pub(super) struct Search<'a> {
    facts: &'a [Facts],
    pub(super) findings: Vec<Finding>,
    pub(super) assumptions: Vec<Assumption>,
}

/// The object and those within it, the inner first.
fn objects<'a>(values: &'a Map<String, Json>, depth: usize, into: &mut Vec<&'a Map<String, Json>>) {
    if depth > 0 {
        let inner = NESTED.iter().filter_map(|key| values.get(*key)?.as_object());
        inner.for_each(|inner| objects(inner, depth - 1, into));
    }
    into.push(values);
}

fn number(value: &Json) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

/// One side, `[height, width]`, `[channels, height, width]` or `{"height": .., "width": ..}`.
fn size(value: &Json) -> Option<(usize, usize)> {
    match value {
        Json::Number(_) => number(value).map(|side| (side, side)),
        Json::Array(values) => match values.as_slice() {
            [side] => number(side).map(|side| (side, side)),
            [height, width] | [_, height, width] => Some((number(height)?, number(width)?)),
            _ => None,
        },
        Json::Object(values) => Some((number(values.get("height")?)?, number(values.get("width")?)?)),
        _ => None,
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(facts: &'a [Facts]) -> Self {
        Self { facts, findings: vec![], assumptions: vec![] }
    }

    /// All values by any of these names, the more trustworthy first.
    fn all<T>(&self, names: &[&str], read: impl Fn(&Json) -> Option<T>) -> Vec<(T, Provenance)> {
        let mut found = Vec::new();
        for facts in self.facts {
            let mut places = Vec::new();
            objects(&facts.values, DEPTH, &mut places);
            for (object, name) in places.iter().flat_map(|object| names.iter().map(move |name| (object, name))) {
                let value = object.get(*name).and_then(&read);
                found.extend(value.map(|value| (value, format!("{name} in {}", facts.origin).into())));
            }
        }
        found
    }

    /// A value by any of its names.
    pub(super) fn fact<T>(&self, names: &[&str], read: impl Fn(&Json) -> Option<T>) -> Option<(T, Provenance)> {
        self.all(names, read).into_iter().next()
    }

    pub(super) fn found<T: ToString>(&mut self, name: &'static str, value: T, origin: impl Into<Provenance>) -> T {
        self.findings.push(Finding { name, value: value.to_string(), origin: origin.into() });
        value
    }

    pub(super) fn assume(&mut self, name: &'static str, taken: String, others: String) {
        self.assumptions.push(Assumption { name, taken, others });
    }

    /// Attention heads: given, said, MAE-Lite's, or those of the paper for this width, which is a guess. `decoder`:
    /// the decoder's width beside an encoder.
    pub(super) fn heads(
        &mut self,
        heads: Heads,
        given: Option<usize>,
        dim: usize,
        decoder: Option<usize>,
    ) -> Result<usize, ImportError> {
        let encoder = heads == Heads::Encoder;
        let by_name = |value: &Json| timm::heads_of(value.as_str()?, dim);
        let lite = encoder && decoder.is_some_and(|width| (dim, width) == (MAE_LITE.0, MAE_LITE.1));
        let known = given
            .map(|heads| (heads, Provenance::Given))
            .or_else(|| self.fact(heads.names(), number))
            .or_else(|| lite.then(|| (MAE_LITE.2, "MAE-Lite's: a decoder 96 wide beside 192".into())))
            .or_else(|| self.fact(&["model", "architecture"], by_name).filter(|_| encoder));
        let (count, origin) = match known {
            Some(known) => known,
            None => {
                let (count, why) = guess(heads, dim)?;
                self.assume(heads.name(), format!("{count}, {why}"), published::listed(heads, dim));
                (count, format!("assumed: {why}").into())
            }
        };
        if count == 0 || !dim.is_multiple_of(count) {
            return Err(ImportError::Indivisible { heads, count, dim, origin });
        }
        Ok(self.found(heads.name(), count, origin))
    }

    /// Rows and columns of the patch grid, from the number of positions and what is said about the size; where
    /// nothing is said, a square is assumed. `given`: height and width, pixels.
    pub(super) fn grid(
        &mut self,
        patches: usize,
        patch: usize,
        given: Option<(usize, usize)>,
    ) -> Result<(usize, usize), ImportError> {
        let sides = self.sides(given);
        let cut = |(height, width): (usize, usize)| (height / patch, width / patch);
        let fits = |size: (usize, usize)| {
            let (rows, cols) = cut(size);
            rows.checked_mul(cols) == Some(patches)
        };
        let told = || match sides.as_slice() {
            [] => "no file tells height and width".to_owned(),
            [((height, width), origin), ..] => format!("{height}x{width} ({origin}) does not fit it"),
        };
        if let Some((size, origin)) = sides.iter().find(|(size, _)| fits(*size)) {
            let (rows, cols) = cut(*size);
            let cropped = (rows * patch, cols * patch) != *size;
            let origin = match (origin, cropped) {
                (Provenance::Found(place), true) => {
                    format!("{place}, {}x{}, in whole patches", size.0, size.1).into()
                }
                _ => origin.clone(),
            };
            self.found("image", format!("{}x{}", rows * patch, cols * patch), origin);
            return Ok((rows, cols));
        }
        let side = patches.isqrt();
        if given.is_some() || side * side != patches {
            return Err(ImportError::NotSquare { patches, told: told() });
        }
        let image = format!("{0}x{0}", side * patch);
        let taken = format!("{image}, as the {patches} positions make a square; {}", told());
        self.assume("image", taken, String::new());
        self.found("image", image, "the shapes; a square is assumed");
        Ok((side, side))
    }

    /// Heights and widths that are stated, the more trustworthy first.
    fn sides(&self, given: Option<(usize, usize)>) -> Vec<((usize, usize), Provenance)> {
        if let Some(size) = given {
            return vec![(size, Provenance::Given)];
        }
        let heights = self.all(&["image_height"], number);
        let widths = self.all(&["image_width"], number);
        let pairs = heights.into_iter().zip(widths).map(|((height, origin), (width, _))| ((height, width), origin));
        pairs.chain(self.all(&["img_size", "image_size", "input_size", "size", "crop_size"], size)).collect()
    }

    /// Whether a table of `rows` positions has none for the class token: a file says so, or the rows fit a stated
    /// size or make a square, and would not without one of them. `patch`: its side, pixels.
    pub(super) fn no_row_for_class_token(&self, rows: usize, patch: usize, given: Option<(usize, usize)>) -> bool {
        if let Some((none, _)) = self.fact(&["no_embed_class"], Json::as_bool) {
            return none;
        }
        let sides = self.sides(given);
        let fits = |patches: usize| {
            let cut = |size: (usize, usize)| (size.0 / patch.max(1)).checked_mul(size.1 / patch.max(1));
            sides.iter().any(|(size, _)| cut(*size) == Some(patches))
        };
        let square = |n: usize| n > 0 && n.isqrt().pow(2) == n;
        let (with, without) = (fits(rows.saturating_sub(1)), fits(rows));
        if with || without { !with } else { square(rows) && !square(rows - 1) }
    }

    /// What a file says about pooling, as text.
    pub(super) fn pool(&self) -> Option<(String, Provenance)> {
        let text = |value: &Json| match value {
            Json::Bool(flag) => Some(flag.to_string()),
            Json::String(text) => Some(text.clone()),
            _ => None,
        };
        self.fact(&["global_pool"], text)
    }

    /// Names of classes: `[K]` names, or numbers with names.
    pub(super) fn classes(&self, count: usize) -> Option<Vec<String>> {
        let name = |value: &Json| value.as_str().map(str::to_owned);
        let read = |value: &Json| -> Option<Vec<String>> {
            match value {
                Json::Array(values) => values.iter().map(name).collect(),
                Json::Object(values) => {
                    (0..count).map(|number| values.get(&number.to_string()).and_then(name)).collect()
                }
                _ => None,
            }
        };
        let fits = |value: &Json| read(value).filter(|names| names.len() == count);
        self.fact(&["class_names", "classes", "CLASSES", "id2label", "label_names"], fits).map(|(names, _)| names)
    }

    /// Mean and deviation of pixels: given, said, or ImageNet's for RGB, which is a guess.
    pub(super) fn pixels(
        &mut self,
        channels: usize,
        given: Option<&(Vec<f32>, Vec<f32>)>,
    ) -> Result<PixelStats, ImportError> {
        let values = |value: &Json| -> Option<Vec<f32>> {
            let values: Option<Vec<f32>> = value.as_array()?.iter().map(|v| Some(v.as_f64()? as f32)).collect();
            values.filter(|values| values.len() == channels && values.iter().all(|v| v.is_finite()))
        };
        let positive = |value: &Json| values(value).filter(|values| values.iter().all(|v| *v > 0.0));
        if let Some((mean, std)) = given
            && (mean.len() != channels || std.len() != channels)
        {
            return Err(ImportError::Pixels { channels, mean: mean.len(), std: std.len() });
        }
        let said = || {
            let (mean, origin) = self.fact(&["mean", "image_mean"], values)?;
            let (std, _) = self.fact(&["std", "image_std"], positive)?;
            Some((mean, std, origin))
        };
        let known = given.map(|(mean, std)| (mean.clone(), std.clone(), Provenance::Given)).or_else(said);
        let (pixels, origin) = match known {
            Some((mean, std, origin)) => {
                let mut pixels = PixelStats { mean: [0.0; 4], std: [1.0; 4] };
                pixels.mean[..channels].copy_from_slice(&mean);
                pixels.std[..channels].copy_from_slice(&std);
                (pixels, origin)
            }
            None => {
                let (pixels, why) = match channels {
                    3 => (PixelStats::IMAGENET, "ImageNet's, as in the paper".to_owned()),
                    _ => (PixelStats::usual(channels), format!("usual for {channels} channels")),
                };
                let others = "many of timm's and Google's models have 0.5 and 0.5".to_owned();
                let taken = format!("{why}: mean {:?}, std {:?}", &pixels.mean[..channels], &pixels.std[..channels]);
                self.assume("pixels", taken, others);
                (pixels, format!("assumed: {why}").into())
            }
        };
        let (mean, std) = (&pixels.mean[..channels], &pixels.std[..channels]);
        self.found("pixels", format!("mean {mean:?}, std {std:?}"), origin);
        Ok(pixels)
    }
}

/// The heads of the paper's models for this width, and why.
fn guess(heads: Heads, dim: usize) -> Result<(usize, String), ImportError> {
    if let Some((count, whose)) = published::of(heads, dim).first() {
        return Ok((*count, format!("as in {whose}")));
    }
    let width = heads.paper_width();
    if !dim.is_multiple_of(width) {
        return Err(ImportError::Heads { heads, dim });
    }
    Ok((dim / width, format!("each {width} wide, as in the paper")))
}
