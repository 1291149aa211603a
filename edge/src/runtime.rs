//! One way to call both runtimes: tract and the native encoder.

#[cfg(feature = "tract")]
use crate::model_folder::Precision;
use crate::{
    model_folder::ModelFolder,
    native::{Encoder, Patches},
    native_file::NativeFile,
    options::{RuntimeArgs, kernels},
    pipeline::visible_pixels,
};
#[cfg(feature = "tract")]
use crate::{
    pipeline::visible_patches,
    tract_runtime::{Features, TractEncoder},
};
use common::{model::EncoderSpec, patch::PatchGrid};
use console::misuse;

/// Loads the form asked for, or the folder's default.
#[cfg(feature = "tract")]
fn load_tract(folder: &ModelFolder, form: Option<Precision>) -> anyhow::Result<TractEncoder> {
    let form = form.unwrap_or_else(|| folder.default_precision());
    if !folder.precisions().contains(&form) {
        let forms = folder.precisions().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(misuse(format!("the model has no {form} form; it has {forms}")));
    }
    Ok(TractEncoder::load(folder, form)?)
}

/// An encoder of either runtime, with the buffers between it and an image.
#[derive(Debug)]
pub struct ImageEncoder<'a> {
    spec: EncoderSpec,
    grid: PatchGrid,
    runtime: Either<'a>,
    /// One patch for tract, all visible ones for the native encoder.
    pixels: Vec<u8>,
}

#[derive(Debug)]
enum Either<'a> {
    #[cfg(feature = "tract")]
    Tract(Box<Tract>),
    Native(Box<Encoder<'a>>),
}

#[cfg(feature = "tract")]
#[derive(Debug)]
struct Tract {
    encoder: TractEncoder,
    /// `[V, P]`, normalised.
    patches: Vec<f32>,
    found: Option<Features>,
}

/// What the encoder yields for one image, until it is called again.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// `[D]`.
    pub cls: &'a [f32],
    /// `[D]`.
    pub mean: &'a [f32],
    /// `[V, D]`.
    pub tokens: &'a [f32],
}

impl<'a> ImageEncoder<'a> {
    /// The encoder that `args` ask for; `file` is what [`RuntimeArgs::open`] gave.
    ///
    /// # Errors
    /// If the form is missing or damaged, or options are misused.
    pub fn new(folder: &ModelFolder, args: &RuntimeArgs, file: Option<&'a NativeFile>) -> anyhow::Result<Self> {
        let (spec, grid) = (*folder.spec(), folder.spec().grid()?);
        let runtime = match file {
            #[cfg(feature = "tract")]
            None => {
                let encoder = load_tract(folder, args.precision)?;
                Either::Tract(Box::new(Tract { encoder, patches: Vec::new(), found: None }))
            }
            #[cfg(not(feature = "tract"))]
            None => return Err(misuse("this edge was built without tract")),
            Some(file) => {
                let (model, kernels) = (file.model(folder)?, kernels(args.kernels.as_deref())?);
                let threads = args.threads.unwrap_or(1);
                Either::Native(Box::new(Encoder::allocate(model, kernels, grid.patches(), threads)?))
            }
        };
        Ok(Self { spec, grid, runtime, pixels: Vec::new() })
    }

    /// The encoder's description.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        &self.spec
    }

    /// Runtime and form, for a person: `tract f32`, `native avx2`.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.runtime {
            #[cfg(feature = "tract")]
            Either::Tract(tract) => format!("tract {}", tract.encoder.precision()),
            Either::Native(encoder) => format!("native {}", encoder.kernels().name),
        }
    }

    /// Does what only the first image with so many visible patches needs.
    ///
    /// # Errors
    /// If the runtime refuses.
    pub fn prepare(&mut self, visible: usize) -> anyhow::Result<()> {
        match &mut self.runtime {
            #[cfg(feature = "tract")]
            Either::Tract(tract) => Ok(tract.encoder.prepare(visible)?),
            Either::Native(encoder) => match visible <= encoder.max_visible() {
                true => Ok(()),
                false => Err(misuse(format!("{visible} patches are more than the encoder was made for"))),
            },
        }
    }

    /// Encodes the patches `ids_keep` (`[V]`) of an image (`[H, W, C]`).
    ///
    /// # Errors
    /// If the image does not fit the encoder, a patch lies outside the grid, none is visible, or the runtime fails.
    pub fn encode(&mut self, image: &[u8], ids_keep: &[u32]) -> anyhow::Result<Encoded<'_>> {
        let values = self.grid.patch_dim();
        match &mut self.runtime {
            #[cfg(feature = "tract")]
            Either::Tract(tract) => {
                let Tract { encoder, patches, found } = &mut **tract;
                self.pixels.resize(values, 0);
                patches.resize(ids_keep.len() * values, 0.0);
                visible_patches(&self.spec, &self.grid, image, ids_keep, &mut self.pixels, patches)?;
                let Features { cls, mean, tokens } = found.insert(encoder.encode(patches, ids_keep)?);
                Ok(Encoded { cls, mean, tokens })
            }
            Either::Native(encoder) => {
                self.pixels.resize(ids_keep.len() * values, 0);
                visible_pixels(&self.grid, image, ids_keep, &mut self.pixels)?;
                let found = encoder.encode(Patches::Pixels(&self.pixels), ids_keep)?;
                Ok(Encoded { cls: found.cls, mean: found.mean, tokens: found.tokens })
            }
        }
    }
}
