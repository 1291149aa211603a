//! The encoder: from visible patches to features.

pub use super::job::Patches;

use super::{
    attention::project,
    error::NativeError,
    format::Model,
    forward::{embed, mix},
    job::Job,
    kernels::Kernels,
    lanes::CHUNK,
    profile::{Profiler, Stage},
    threads::{Threads, spread},
    token_range::{KeysValuesMut, TokenRange},
    workspace::{Line, Plan, Shape, take},
};
use common::model::{EncoderSpec, Pooling};

/// What an encoder gives; it lies in the encoder's workspace.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Features<'w> {
    /// `[D]`: the class token after the final norm.
    pub cls: &'w [f32],
    /// `[D]`: the mean of the patch tokens, before or after the final norm as the model's pooling says, normed.
    pub mean: &'w [f32],
    /// `[V, D]`: the patch tokens after the final norm, in the order of `ids_keep`.
    pub tokens: &'w [f32],
}

impl<'w> Features<'w> {
    /// `[D]`: the vector for a pooling.
    #[must_use]
    pub fn pooled(&self, pooling: Pooling) -> &'w [f32] {
        match pooling {
            Pooling::Cls => self.cls,
            Pooling::Mean | Pooling::MeanNorm => self.mean,
        }
    }
}

enum Memory<'a> {
    Lent(&'a mut [Line]),
    #[cfg(feature = "std")]
    Own(Vec<Line>),
}

/// A model with the memory to run it. After construction nothing is allocated.
pub struct Encoder<'a> {
    model: Model<'a>,
    kernels: &'static Kernels,
    shape: Shape,
    plan: Plan,
    max_visible: usize,
    threads: Threads,
    pixel_map: [[[f32; CHUNK]; 3]; 2],
    memory: Memory<'a>,
}

impl core::fmt::Debug for Encoder<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut debug = f.debug_struct("Encoder");
        debug.field("shape", &self.shape).field("kernels", &self.kernels.name).field("rows", &self.plan.rows);
        debug.field("max_visible", &self.max_visible).field("threads", &self.threads.count()).finish_non_exhaustive()
    }
}

impl<'a> Encoder<'a> {
    /// An encoder of at most `max_visible` patches in lent memory, of [`Shape::workspace`] lines for one thread. With
    /// more memory than it needs at least, up to what the kernels ask for, it is faster.
    ///
    /// # Errors
    /// If `max_visible` is zero or more than the image has patches, or the workspace is too small.
    pub fn new(
        model: Model<'a>,
        kernels: &'static Kernels,
        max_visible: usize,
        workspace: &'a mut [Line],
    ) -> Result<Self, NativeError> {
        let shape = Shape::of(model.spec())?;
        let plan = shape.fitting(max_visible, kernels.rows, 1, workspace.len())?;
        Ok(Self::made(model, kernels, shape, plan, max_visible, Threads::One, Memory::Lent(workspace)))
    }

    /// An encoder of at most `max_visible` patches with memory of its own, run by `threads` threads (0 as 1).
    ///
    /// # Errors
    /// If `max_visible` is zero or more than the image has patches, or threads cannot be started.
    #[cfg(feature = "std")]
    pub fn allocate(
        model: Model<'a>,
        kernels: &'static Kernels,
        max_visible: usize,
        threads: usize,
    ) -> Result<Self, NativeError> {
        Self::allocate_rows(model, kernels, max_visible, threads, kernels.rows)
    }

    /// As [`Self::allocate`], working on `rows` tokens at a time. It changes only the speed.
    ///
    /// # Errors
    /// As [`Self::allocate`].
    #[cfg(feature = "std")]
    pub fn allocate_rows(
        model: Model<'a>,
        kernels: &'static Kernels,
        max_visible: usize,
        threads: usize,
        rows: usize,
    ) -> Result<Self, NativeError> {
        let shape = Shape::of(model.spec())?;
        let plan = shape.fitting(max_visible, rows, threads, usize::MAX)?;
        let lines = shape.workspace(max_visible, plan.rows, threads);
        let threads = if threads > 1 {
            let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
            Threads::Pool(builder.build().map_err(|_| NativeError::Threads(threads))?)
        } else {
            Threads::One
        };
        let memory = Memory::Own(std::vec![Line::ZERO; lines]);
        Ok(Self::made(model, kernels, shape, plan, max_visible, threads, memory))
    }

    fn made(
        model: Model<'a>,
        kernels: &'static Kernels,
        shape: Shape,
        plan: Plan,
        max_visible: usize,
        threads: Threads,
        memory: Memory<'a>,
    ) -> Self {
        let pixel_map = pixel_map(model.spec());
        Self { model, kernels, shape, plan, max_visible, threads, pixel_map, memory }
    }

    /// The model's description.
    #[must_use]
    pub fn spec(&self) -> &EncoderSpec {
        self.model.spec()
    }

    /// The kernels that run.
    #[must_use]
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// The most patches that may be visible.
    #[must_use]
    pub fn max_visible(&self) -> usize {
        self.max_visible
    }

    /// Encodes the visible patches of one image.
    ///
    /// # Errors
    /// If there are none or too many patches, one that the image has not, or as many values as others.
    pub fn encode(&mut self, patches: Patches<'_>, ids_keep: &[u32]) -> Result<Features<'_>, NativeError> {
        self.encode_with(patches, ids_keep, &())
    }

    /// As [`Self::encode`], and tells `profiler` when a stage ends.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_with(
        &mut self,
        patches: Patches<'_>,
        ids_keep: &[u32],
        profiler: &impl Profiler,
    ) -> Result<Features<'_>, NativeError> {
        self.check(patches, ids_keep)?;
        let Self { model, kernels, shape, plan, threads, pixel_map, memory, .. } = self;
        let lines = match memory {
            Memory::Lent(lines) => &mut **lines,
            #[cfg(feature = "std")]
            Memory::Own(lines) => lines.as_mut_slice(),
        };
        let model = *model;
        let tokens = ids_keep.len() + 1;
        let job = Job { model, kernels, shape, plan, patches, ids_keep, tokens, pixel_map, profiler };
        let count = threads.count();
        let memory = Divided::new(plan, shape, lines, count);
        Ok(threads.install(|| forward(&job, memory, count)))
    }

    fn check(&self, patches: Patches<'_>, ids_keep: &[u32]) -> Result<(), NativeError> {
        let (found, most) = (ids_keep.len(), self.max_visible);
        if found == 0 || found > most {
            return Err(NativeError::Visible { found, most });
        }
        let (expected, found) = (found * self.shape.patch_dim, patches.len());
        if found != expected {
            return Err(NativeError::Length { what: "the visible patches", expected, found });
        }
        let patches_of_image = self.shape.patches as u32;
        if let Some(index) = ids_keep.iter().find(|index| **index >= patches_of_image) {
            return Err(NativeError::Index { index: *index, patches: patches_of_image });
        }
        if let Patches::Values(values) = patches {
            // All of them, without an early end, so that the compiler vectorises it.
            let permitted = |value: &f32| value.abs() <= 1e6;
            if !values.iter().fold(true, |all, value| all & permitted(value)) {
                return Err(NativeError::PatchValue(values.iter().take_while(|value| permitted(value)).count()));
            }
        }
        Ok(())
    }
}

/// The workspace in its parts.
struct Divided<'w> {
    x: &'w mut [f32],
    mean: &'w mut [f32],
    queries: &'w mut [i8],
    query_scales: &'w mut [f32],
    now: KeysValuesMut<'w>,
    /// With several threads, where the next block's keys and values are written while others still read this one's.
    later: Option<KeysValuesMut<'w>>,
    scratch: &'w mut [Line],
}

impl<'w> Divided<'w> {
    fn new(plan: &Plan, shape: &Shape, mut lines: &'w mut [Line], threads: usize) -> Self {
        let scales = plan.tokens * shape.heads;
        Self {
            x: take(&mut lines, plan.tokens * shape.dim),
            queries: take(&mut lines, scales * plan.key_slot),
            query_scales: take(&mut lines, scales),
            mean: take(&mut lines, shape.dim),
            now: KeysValuesMut::new(plan, shape, &mut lines),
            later: (threads > 1).then(|| KeysValuesMut::new(plan, shape, &mut lines)),
            scratch: lines,
        }
    }
}

fn forward<'w>(job: &Job<'_, impl Profiler>, memory: Divided<'w>, threads: usize) -> Features<'w> {
    let Divided { x, mean, queries, query_scales, mut now, mut later, scratch } = memory;
    let (plan, shape) = (job.plan, job.shape);
    let mut all = |next: KeysValuesMut<'_>, work: &(dyn Fn(TokenRange<'_>) + Sync)| {
        let range = TokenRange {
            first: 0,
            count: job.tokens,
            x: &mut *x,
            queries: &mut *queries,
            query_scales: &mut *query_scales,
            next,
            scratch: &mut *scratch,
        };
        spread(range, threads, plan, shape, &work);
    };
    let mut blocks = job.model.blocks().peekable();
    if let Some(first) = blocks.peek() {
        all(now.reborrow(), &|mut range| {
            embed(job, range.reborrow());
            project(job, first, range);
        });
    }
    while let Some(block) = blocks.next() {
        match (blocks.peek(), &mut later) {
            (None, _) => all(KeysValuesMut::default(), &|range| mix(job, &block, now.view(), range)),
            (Some(next), None) => {
                all(KeysValuesMut::default(), &|range| mix(job, &block, now.view(), range));
                all(now.reborrow(), &|range| project(job, next, range));
            }
            // One meeting of the threads a block: what is read and what is written differ.
            (Some(next), Some(later)) => {
                let seen = now.view();
                all(later.reborrow(), &|mut range| {
                    mix(job, &block, seen, range.reborrow());
                    project(job, next, range);
                });
                core::mem::swap(&mut now, later);
            }
        }
    }
    finish(job, x, mean, take(&mut &mut *scratch, shape.dim))
}

/// The final norm and the mean. `row`: scratch for one token.
fn finish<'w>(job: &Job<'_, impl Profiler>, x: &'w mut [f32], mean: &'w mut [f32], row: &mut [f32]) -> Features<'w> {
    let dim = job.shape.dim;
    let x = &mut x[..job.tokens * dim];
    let (norm, eps) = (job.model.norm(), job.model.spec().norm_eps);
    let mut normed = |x: &mut [f32]| {
        (job.kernels.passes.norm)(x, norm, eps, row);
        x.copy_from_slice(row);
    };
    let before = job.model.spec().pooling == Pooling::MeanNorm;
    if before {
        average(&x[dim..], mean);
        normed(mean);
    }
    x.chunks_exact_mut(dim).for_each(&mut normed);
    if !before {
        average(&x[dim..], mean);
    }
    job.profiler.mark(Stage::Norm);
    let (cls, tokens) = x.split_at(dim);
    Features { cls, mean, tokens }
}

/// The mean of the rows of `x` (`[V, D]`), summed in their order.
fn average(x: &[f32], mean: &mut [f32]) {
    let count = (x.len() / mean.len()) as f32;
    mean.fill(0.0);
    for row in x.chunks_exact(mean.len()) {
        for (mean, value) in mean.iter_mut().zip(row) {
            *mean += value;
        }
    }
    for mean in mean {
        *mean /= count;
    }
}

/// `[factors, offsets]` from normalised pixels to pixels less 128, the channels' repeated over 48 values.
fn pixel_map(spec: &EncoderSpec) -> [[[f32; CHUNK]; 3]; 2] {
    let (pixels, channels) = (&spec.pixels, spec.channels as usize);
    let mut map = [[[0.0; CHUNK]; 3]; 2];
    let [factors, offsets] = &mut map;
    for i in 0..3 * CHUNK {
        let channel = i % channels;
        factors[i / CHUNK][i % CHUNK] = 255.0 * pixels.std[channel];
        offsets[i / CHUNK][i % CHUNK] = 255.0 * pixels.mean[channel] - 128.0;
    }
    map
}
