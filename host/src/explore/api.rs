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
    images::{ImageId, Images, ImagesError},
    index::Index,
    look::Explored,
    priority_lock::PriorityLock,
};
use crate::{
    model::MaskBatch,
    pictures::rgb,
    serve::answer::{Refusal, body, compute, json},
};
use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};
use common::mask::MaskKind;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use std::{
    sync::{Arc, PoisonError, RwLock},
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
    /// The gallery in one line.
    described: Option<String>,
    explored: Explored,
    images: Images,
    /// The folder's images that go into the index.
    indexed: Vec<usize>,
    index: RwLock<Index>,
    lock: PriorityLock,
}

/// A question about one image under one mask.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookRequest {
    /// An [`ImageId`].
    pub image: String,
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

impl From<ImagesError> for Refusal {
    fn from(error: ImagesError) -> Self {
        let status = match error {
            ImagesError::Missing(_) => StatusCode::NOT_FOUND,
            ImagesError::Unreadable(_) | ImagesError::Broken(_) => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, error.to_string())
    }
}

impl Explorer {
    /// Shows `explored`, named `name`, with the images of a gallery as it is `described`, of which `limit` at most go
    /// into the index.
    #[must_use]
    pub fn new(
        (name, described): (String, Option<String>),
        explored: Explored,
        images: Images,
        limit: usize,
    ) -> Self {
        let (count, limit) = (images.len(), limit.min(images.len()));
        let indexed = (0..limit).map(|i| i * count / limit.max(1)).collect();
        let index = RwLock::new(Index::new(explored.config.model.dim));
        Self { name, described, explored, images, indexed, index, lock: PriorityLock::default() }
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
                let _held = self.lock.later();
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
    fn samples(&self, page: usize) -> Result<Response, Refusal> {
        let (count, shown) = (self.images.len(), self.images.len().min(SAMPLES));
        let first = page.checked_rem(count / shown.max(1)).unwrap_or(0);
        let samples: Vec<Sample> = (0..shown).map(|i| self.sample(i * (count / shown) + first)).collect();
        json(&samples)
    }

    fn model(&self) -> Result<Response, Refusal> {
        let (config, grid) = (&self.explored.config, &self.explored.grid);
        let model = &config.model;
        json(&serde_json::json!({
            "name": self.name,
            "height": grid.height(), "width": grid.width(), "channels": grid.channels(),
            "patch": grid.patch_size(), "rows": grid.rows(), "cols": grid.cols(),
            "dim": model.dim, "depth": model.depth, "heads": model.heads,
            "decoder_dim": model.decoder_dim, "decoder_depth": model.decoder_depth, "decoder_heads": model.decoder_heads,
            "decoder": model.decoder.name(),
            "norm_pix_loss": model.norm_pix_loss, "target": config.train.target.to_string(),
            "parameters": crate::formats::official::parameters(model, true)
                .iter().map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>(),
            "epochs": self.explored.epochs, "pooling": self.explored.pooling,
            "mask": config.train.mask, "mask_ratio": config.train.mask_ratio,
            "kinds": MaskKind::ALL.map(MaskKind::name),
            "images": self.images.len(),
            "described": self.described,
            "max_image": MAX_IMAGE,
            "version": env!("CARGO_PKG_VERSION"),
        }))
    }

    fn progress(&self) -> Result<Response, Refusal> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        json(&serde_json::json!({
            "done": index.len() + index.broken, "broken": index.broken, "total": self.indexed.len(),
            "bytes": index.bytes(), "finished": index.finished,
        }))
    }

    fn picture(&self, name: &str) -> Result<Response, Refusal> {
        let id: ImageId = name.parse().map_err(|()| no_image(name))?;
        let (view, grid) = (self.images.view(id)?, &self.explored.grid);
        let pixels = rgb(&view.pixels, grid.channels());
        let image = image::RgbImage::from_raw(grid.width() as u32, grid.height() as u32, pixels);
        let mut png = std::io::Cursor::new(Vec::new());
        let written = image.map(|image| image.write_to(&mut png, image::ImageFormat::Png));
        match written {
            Some(Ok(())) => Ok(([(header::CONTENT_TYPE, "image/png")], png.into_inner()).into_response()),
            _ => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the picture cannot be written")),
        }
    }

    fn take(&self, file: &[u8]) -> Result<Response, Refusal> {
        let id = self.images.drop_in(file)?;
        json(&serde_json::json!({ "id": id.to_string() }))
    }

    fn mask(&self, request: &MaskRequest) -> Result<MaskBatch, Refusal> {
        let patches = self.explored.grid.patches();
        match request {
            MaskRequest::Drawn { kind, ratio, seed } => self.explored.drawn(*kind, *ratio, *seed).ok_or_else(|| {
                unprocessable(format!(
                    "the ratio {ratio} leaves none of {patches} patches: use one from 0 to below 1"
                ))
            }),
            MaskRequest::Removed(ids) => self.explored.painted(ids).ok_or_else(|| {
                let reason = match ids.iter().find(|id| **id as usize >= patches) {
                    Some(id) => format!("there is no patch {id}: the image has {patches}"),
                    None => "the encoder needs one visible patch at least".into(),
                };
                unprocessable(reason)
            }),
        }
    }

    fn look(&self, body: &[u8]) -> Result<Response, Refusal> {
        let start = Instant::now();
        let request: LookRequest = serde_json::from_slice(body).map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("the question cannot be read: {error}"))
        })?;
        let name = &request.image;
        let id: ImageId = name.parse().map_err(|()| no_image(name))?;
        let depth = self.explored.config.model.depth;
        if request.block >= depth {
            return Err(unprocessable(format!("there is no block {}: the encoder has {depth}", request.block)));
        }
        let (masks, view) = (self.mask(&request.mask)?, self.images.view(id)?);
        let failed = |error: anyhow::Error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"));
        let held = self.lock.now();
        let begun = Instant::now();
        let look = self.explored.look(&view.pixels, &masks, request.block).map_err(failed)?;
        let feature = match request.query {
            Query::Visible => look.feature,
            Query::Whole => {
                self.explored.features(std::slice::from_ref(&view.pixels)).map_err(failed)?.swap_remove(0)
            }
        };
        let model_ms = begun.elapsed().as_secs_f64() * 1e3;
        drop(held);
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
            original: request.original.then(|| BASE64.encode(&rgb(&view.pixels, channels))),
            predicted: BASE64.encode(&rgb(&look.predicted, channels)),
            visible: mask.ids_keep.clone(),
            attention: look.attention.chunks_exact(1 + masks.visible()).map(<[f32]>::to_vec).collect(),
            neighbours: near.collect(),
            indexed,
            model_ms,
            ms: 0.0,
        };
        answer.ms = start.elapsed().as_secs_f64() * 1e3;
        json(&answer)
    }
}

/// The page and what it asks.
pub fn pages(explorer: Arc<Explorer>) -> Router {
    Router::new()
        .route("/", get(async || Html(PAGE)))
        .route("/api/model", get(async |State(explorer): Shared| explorer.model()))
        .route("/api/index", get(async |State(explorer): Shared| explorer.progress()))
        .route("/api/images/{page}", get(samples))
        .route("/image/{file}", get(picture))
        .route("/api/image", post(take))
        .route("/api/look", post(look))
        .with_state(explorer)
}

type Shared = State<Arc<Explorer>>;

async fn samples(State(explorer): Shared, Path(page): Path<String>) -> Result<Response, Refusal> {
    let page = page.parse().map_err(|_| nothing(&format!("/api/images/{page}")))?;
    explorer.samples(page)
}

async fn picture(State(explorer): Shared, Path(file): Path<String>) -> Result<Response, Refusal> {
    let Some(name) = file.strip_suffix(".png").map(str::to_owned) else {
        return Err(nothing(&format!("/image/{file}")));
    };
    compute(move || explorer.picture(&name)).await
}

async fn take(State(explorer): Shared, request: Request) -> Result<Response, Refusal> {
    let file = body(request, MAX_IMAGE).await?;
    compute(move || explorer.take(&file)).await
}

async fn look(State(explorer): Shared, request: Request) -> Result<Response, Refusal> {
    let question = body(request, MAX_QUESTION).await?;
    compute(move || explorer.look(&question)).await
}

fn nothing(path: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is nothing at {path}"))
}

fn no_image(name: &str) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("`{name}` is no image"))
}

fn unprocessable(reason: String) -> Refusal {
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason)
}
