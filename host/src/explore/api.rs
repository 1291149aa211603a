//! What the page asks, and the answers: JSON, pictures as PNG.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /api/model` | the model's facts, what a mask can be |
//! | `GET /api/images/N` | some images of the folder; another N, others |
//! | `GET /image/ID.png` | an image as the model takes it |
//! | `POST /api/image` | takes the file in the body; its ID |
//! | `POST /api/look` | [`LookRequest`] to [`LookAnswer`] |
//! | `GET /api/index` | how far the index of neighbours is |

use super::{
    http::{Request, Response},
    images::{ImageId, Images, ImagesError},
    index::Index,
    look::Explored,
    server::Answer,
    turn::Turn,
};
use crate::{model::MaskBatch, pictures::rgb, report::html::base64};
use common::mask::MaskKind;
use serde::{Deserialize, Serialize};
use std::{
    sync::{PoisonError, RwLock},
    time::Instant,
};

/// The page, all of it.
const PAGE: &str = include_str!("page.html");
/// Bound for the file of a dropped image, bytes.
pub const MAX_IMAGE: usize = 32 << 20;
/// Bound for a question as JSON, bytes.
const MAX_QUESTION: usize = 256 << 10;
/// Images that `/api/images/N` names.
const SAMPLES: usize = 24;
/// Most neighbours that can be asked for.
const MAX_NEIGHBOURS: usize = 48;
/// Images that are encoded at once for the index; a look waits for one such batch at most.
const BATCH: usize = 16;

/// Everything behind the page.
#[derive(Debug)]
pub struct Explorer {
    name: String,
    explored: Explored,
    images: Images,
    /// The folder's images that go into the index.
    indexed: Vec<usize>,
    index: RwLock<Index>,
    turn: Turn,
}

/// A question about one image under one mask.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookRequest {
    /// An [`ImageId`].
    pub image: String,
    /// Its mask.
    pub mask: MaskRequest,
    /// The encoder block whose attention is read, from 0.
    pub block: usize,
    /// How many neighbours.
    pub neighbours: usize,
    /// Neighbours of what.
    pub query: Query,
    /// Whether the image itself is to come along.
    #[serde(default)]
    pub original: bool,
}

/// How a mask comes about.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MaskRequest {
    /// As in training.
    Drawn {
        /// Its kind.
        kind: MaskKind,
        /// Share of patches that are removed, 0 to below 1.
        ratio: f64,
        /// Random choices come from this.
        seed: u64,
    },
    /// By hand: numbers of the removed patches.
    Removed(Vec<u32>),
}

/// Which feature the neighbours are near to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Query {
    /// That of the visible patches.
    Visible,
    /// That of all patches.
    Whole,
}

/// What the model makes of it.
#[derive(Debug, Serialize)]
pub struct LookAnswer {
    /// The image's class or name, if it is one of the folder.
    name: Option<String>,
    /// `[L]`: 1 removed.
    removed: Vec<u8>,
    /// RGB of the image, `[H, W, 3]` in base64, if asked for.
    original: Option<String>,
    /// RGB of the prediction for every patch, likewise.
    predicted: String,
    /// Training's loss on this image and mask; none if nothing is removed.
    loss: Option<f32>,
    /// Number of each visible patch, in the order of `attention`.
    visible: Vec<u32>,
    /// Of each head of the class token: what it takes from itself, then from the visible patches; sums to 1.
    attention: Vec<Vec<f32>>,
    neighbours: Vec<Near>,
    /// Images in the index.
    indexed: usize,
    /// The model's time, milliseconds; without waiting for another's turn.
    model_ms: f64,
    /// The time of the whole answer, milliseconds.
    ms: f64,
}

#[derive(Debug, Serialize)]
struct Near {
    id: String,
    name: String,
    class: Option<String>,
    cosine: f32,
}

#[derive(Debug, Serialize)]
struct Sample {
    id: String,
    name: String,
    class: Option<String>,
}

impl From<ImagesError> for Response {
    fn from(error: ImagesError) -> Self {
        let status = match error {
            ImagesError::Missing(_) => 404,
            ImagesError::Unreadable(_) | ImagesError::Broken(_) => 422,
        };
        Self::error(status, &error.to_string())
    }
}

impl Explorer {
    /// Shows `explored`, named `name`, with the images of a folder, of which `limit` at most go into the index.
    #[must_use]
    pub fn new(name: String, explored: Explored, images: Images, limit: usize) -> Self {
        let (count, limit) = (images.len(), limit.min(images.len()));
        let indexed = (0..limit).map(|i| i * count / limit.max(1)).collect();
        let index = RwLock::new(Index::new(explored.config.model.dim));
        Self { name, explored, images, indexed, index, turn: Turn::default() }
    }

    /// Encodes the images of the index; looks go first.
    ///
    /// # Errors
    /// If the model fails. Broken images are counted.
    pub fn build_index(&self) -> anyhow::Result<()> {
        for batch in self.indexed.chunks(BATCH) {
            let (mut numbers, mut views, mut broken) = (Vec::new(), Vec::new(), 0);
            for image in batch {
                match self.images.read(*image) {
                    Ok(view) => {
                        numbers.push(*image);
                        views.push(view.pixels);
                    }
                    Err(_) => broken += 1,
                }
            }
            let features = if views.is_empty() {
                Vec::new()
            } else {
                let _turn = self.turn.later();
                self.explored.features(&views)?
            };
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            numbers.iter().zip(features).for_each(|(image, feature)| index.push(*image, &feature));
            index.broken += broken;
        }
        self.index.write().unwrap_or_else(PoisonError::into_inner).finished = true;
        Ok(())
    }

    fn sample(&self, image: usize) -> Sample {
        let name = self.images.gallery().map_or_else(String::new, |gallery| gallery.name(image));
        Sample { id: ImageId::Gallery(image).to_string(), name, class: self.images.class(image).map(Into::into) }
    }

    /// Every `step`-th image of the folder, from `page` on, so that folders ordered by class show all classes.
    fn samples(&self, page: usize) -> Response {
        let (count, shown) = (self.images.len(), self.images.len().min(SAMPLES));
        let first = page.checked_rem(count / shown.max(1)).unwrap_or(0);
        let samples: Vec<Sample> = (0..shown).map(|i| self.sample(i * (count / shown) + first)).collect();
        Response::json(&samples)
    }

    fn model(&self) -> Response {
        let (config, grid) = (&self.explored.config, &self.explored.grid);
        let model = &config.model;
        Response::json(&serde_json::json!({
            "name": self.name,
            "height": grid.height(), "width": grid.width(), "channels": grid.channels(),
            "patch": grid.patch_size(), "rows": grid.rows(), "cols": grid.cols(),
            "dim": model.dim, "depth": model.depth, "heads": model.heads,
            "decoder_dim": model.decoder_dim, "decoder_depth": model.decoder_depth, "decoder_heads": model.decoder_heads,
            "norm_pix_loss": model.norm_pix_loss, "target": config.train.target.to_string(),
            "parameters": crate::formats::official::parameters(model, true)
                .iter().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>(),
            "epochs": self.explored.epochs, "pooling": self.explored.pooling,
            "mask": config.train.mask, "mask_ratio": config.train.mask_ratio,
            "kinds": MaskKind::ALL.map(MaskKind::name),
            "images": self.images.len(),
            "described": self.images.gallery().map(crate::data::dataset::Dataset::describe),
            "max_image": MAX_IMAGE,
            "version": env!("CARGO_PKG_VERSION"),
        }))
    }

    fn progress(&self) -> Response {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        Response::json(&serde_json::json!({
            "done": index.len() + index.broken, "broken": index.broken, "total": self.indexed.len(),
            "bytes": index.bytes(), "finished": index.finished,
        }))
    }

    fn picture(&self, name: &str) -> Result<Response, Response> {
        let id: ImageId = name.parse().map_err(|()| Response::error(404, &format!("`{name}` is no image")))?;
        let (view, grid) = (self.images.view(id)?, &self.explored.grid);
        let pixels = rgb(&view.pixels, grid.channels());
        let image = image::RgbImage::from_raw(grid.width() as u32, grid.height() as u32, pixels);
        let mut png = std::io::Cursor::new(Vec::new());
        let written = image.map(|image| image.write_to(&mut png, image::ImageFormat::Png));
        match written {
            Some(Ok(())) => Ok(Response::ok("image/png", png.into_inner())),
            _ => Err(Response::error(500, "the picture cannot be written")),
        }
    }

    fn take(&self, file: &[u8]) -> Result<Response, Response> {
        let id = self.images.drop_in(file)?;
        Ok(Response::json(&serde_json::json!({ "id": id.to_string() })))
    }

    fn mask(&self, request: &MaskRequest) -> Result<MaskBatch, Response> {
        let patches = self.explored.grid.patches();
        match request {
            MaskRequest::Drawn { kind, ratio, seed } => self.explored.drawn(*kind, *ratio, *seed).ok_or_else(|| {
                Response::error(
                    422,
                    &format!("the ratio {ratio} leaves none of {patches} patches: use one from 0 to below 1"),
                )
            }),
            MaskRequest::Removed(ids) => self.explored.painted(ids).ok_or_else(|| {
                let reason = match ids.iter().find(|id| **id as usize >= patches) {
                    Some(id) => format!("there is no patch {id}: the image has {patches}"),
                    None => "the encoder needs one visible patch at least".into(),
                };
                Response::error(422, &reason)
            }),
        }
    }

    fn look(&self, body: &[u8]) -> Result<Response, Response> {
        let start = Instant::now();
        let request: LookRequest = serde_json::from_slice(body)
            .map_err(|error| Response::error(400, &format!("the question cannot be read: {error}")))?;
        let name = &request.image;
        let id: ImageId = name.parse().map_err(|()| Response::error(404, &format!("`{name}` is no image")))?;
        let depth = self.explored.config.model.depth;
        if request.block >= depth {
            return Err(Response::error(
                422,
                &format!("there is no block {}: the encoder has {depth}", request.block),
            ));
        }
        let (masks, view) = (self.mask(&request.mask)?, self.images.view(id)?);
        let failed = |error: anyhow::Error| Response::error(500, &format!("{error:#}"));
        let turn = self.turn.now();
        let begun = Instant::now();
        let look = self.explored.look(&view.pixels, &masks, request.block).map_err(failed)?;
        let feature = match request.query {
            Query::Visible => look.feature,
            Query::Whole => {
                self.explored.features(std::slice::from_ref(&view.pixels)).map_err(failed)?.swap_remove(0)
            }
        };
        let model_ms = begun.elapsed().as_secs_f64() * 1e3;
        drop(turn);
        let without = if let ImageId::Gallery(index) = id { Some(index) } else { None };
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let (indexed, nearest) =
            (index.len(), index.nearest(&feature, request.neighbours.min(MAX_NEIGHBOURS), without));
        drop(index);
        let near = nearest.into_iter().map(|found| {
            let Sample { id, name, class } = self.sample(found.image);
            Near { id, name, class, cosine: found.cosine }
        });
        let (mask, channels) = (&masks.masks()[0], self.explored.grid.channels());
        let removed = mask.removed();
        let errors: Vec<f32> = look.errors.iter().zip(&removed).filter(|(_, r)| **r == 1).map(|(e, _)| *e).collect();
        let mut answer = LookAnswer {
            name: without.map(|index| self.sample(index)).map(|own| own.class.unwrap_or(own.name)),
            loss: (!errors.is_empty()).then(|| errors.iter().sum::<f32>() / errors.len() as f32),
            removed,
            original: request.original.then(|| base64(&rgb(&view.pixels, channels))),
            predicted: base64(&rgb(&look.predicted, channels)),
            visible: mask.ids_keep.clone(),
            attention: look.attention.chunks_exact(1 + masks.visible()).map(<[f32]>::to_vec).collect(),
            neighbours: near.collect(),
            indexed,
            model_ms,
            ms: 0.0,
        };
        answer.ms = start.elapsed().as_secs_f64() * 1e3;
        Ok(Response::json(&answer))
    }
}

impl Answer for Explorer {
    fn max_body(&self, path: &str) -> usize {
        match path {
            "/api/image" => MAX_IMAGE,
            "/api/look" => MAX_QUESTION,
            _ => 0,
        }
    }

    fn answer(&self, request: &Request) -> Response {
        let (path, post) = (request.path.as_str(), matches!(request.path.as_str(), "/api/image" | "/api/look"));
        let allowed = if post { "POST" } else { "GET, HEAD" };
        if !allowed.split(", ").any(|method| method == request.method) {
            return Response::error(405, &format!("{path} takes {allowed}")).with("Allow", allowed);
        }
        let picture = path.strip_prefix("/image/").and_then(|name| name.strip_suffix(".png"));
        let page = path.strip_prefix("/api/images/").and_then(|page| page.parse().ok());
        let answer = match path {
            "/" => Ok(Response::ok("text/html; charset=utf-8", PAGE.into())),
            "/api/model" => Ok(self.model()),
            "/api/index" => Ok(self.progress()),
            "/api/image" => self.take(&request.body),
            "/api/look" => self.look(&request.body),
            _ => match (picture, page) {
                (Some(name), _) => self.picture(name),
                (_, Some(page)) => Ok(self.samples(page)),
                _ => Err(Response::error(404, &format!("there is nothing at {path}"))),
            },
        };
        answer.unwrap_or_else(|refused| refused)
    }
}
