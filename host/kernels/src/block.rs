//! A pre-norm transformer block: `y = x + attention(norm(x))`, `z = y + mlp(norm(y))`, forward and backward.
//!
//! The tokens of an image attend to one another, or to those of a *context* alone (cross-attention): then queries
//! are projected from `norm(x)`, keys and values from the context as it is.
//!
//! A batch is split into *shards* of whole images, one a thread; a shard works through its images in chunks.
//! Gradients of parameters are summed chunk by chunk in a shard and shard by shard at the end, so that a result
//! depends on the number of shards, but never on timing.

pub use crate::{
    parameters::{PARAMETERS, Parameters},
    plan::Plan,
    saved::Saved,
};

use crate::{
    attention::{self, InputGrads, Inputs, Shape},
    engine::Engine,
    gelu,
    kept::{Working, cut},
    norm,
    pool::Buffer,
    product::{Init, Left, Panels, Right, product},
    saved::{SavedImages, SavedPart, Sizes},
    vector,
};
use rayon::prelude::*;
use std::ops::Range;

/// Rows that a chunk aims at: few enough for the cache, enough to use each weight that is loaded many times.
const CHUNK_ROWS: usize = 128;

/// The sizes of a block and a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block {
    /// Images (`B`).
    pub batch: usize,
    /// Tokens an image (`N`).
    pub tokens: usize,
    /// Tokens of an image's context (`C`); 0 where the tokens attend to one another.
    pub context: usize,
    /// Width (`D`).
    pub dim: usize,
    /// Attention heads (`H`), a divisor of the width.
    pub heads: usize,
    /// Hidden width of the MLP (`F`).
    pub hidden: usize,
    /// LayerNorm's epsilon.
    pub eps: f32,
}

/// Factors of the two branches of each image, for stochastic depth (Huang et al. 2016): `y = x + a
/// attention(norm(x))`, `z = y + m mlp(norm(y))`. A dropped branch has 0, a kept one the inverse of the probability
/// to be kept.
#[derive(Debug, Clone, Copy)]
pub struct Branches<'a> {
    /// Of attention, `[B]`.
    pub attention: &'a [f32],
    /// Of the MLP, `[B]`.
    pub mlp: &'a [f32],
}

impl Branches<'_> {
    fn images(self, images: Range<usize>) -> Self {
        Self { attention: &self.attention[images.clone()], mlp: &self.mlp[images] }
    }
}

/// What a block computes from.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The tokens, `[B N, D]`.
    pub x: &'a [f32],
    /// What they attend to, `[B C, D]`; empty where that is themselves.
    pub context: &'a [f32],
    /// The parameters.
    pub parameters: &'a Parameters<&'a [f32]>,
    /// Factors of the branches; without any they are all 1.
    pub branches: Option<Branches<'a>>,
}

/// Gradients of a block.
#[derive(Debug)]
pub struct Gradients {
    /// Of the parameters.
    pub parameters: Parameters<Vec<f32>>,
    /// Of the tokens, `[B N, D]`.
    pub x: Vec<f32>,
    /// Of the context, `[B C, D]`.
    pub context: Vec<f32>,
}

/// Where the gradients of a chunk go: those of parameters are added, those of tokens written.
struct ChunkGradients<'a> {
    sums: &'a mut Parameters<Vec<f32>>,
    x: &'a mut [f32],
    context: &'a mut [f32],
}

/// The weights as a forward pass reads them: `own` makes of a token queries, keys and values, or queries alone and
/// `context` the rest.
struct Forward {
    own: Panels,
    context: Panels,
    proj: Panels,
    fc1: Panels,
    fc2: Panels,
}

/// The transposed weights as a backward pass reads them.
struct Backward {
    own: Panels,
    context: Panels,
    proj: Panels,
    fc1: Panels,
    fc2: Panels,
}

impl Block {
    /// Elements of each parameter.
    #[must_use]
    pub fn parameter_lens(&self) -> Parameters<usize> {
        let (d, f) = (self.dim, self.hidden);
        Parameters::from_array([d, d, d * 3 * d, 3 * d, d * d, d, d, d, d * f, f, f * d, d])
    }

    /// Rows of the batch, `B N`.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batch * self.tokens
    }

    fn sizes(&self) -> Sizes {
        Sizes { tokens: self.tokens, context: self.context, dim: self.dim, hidden: self.hidden }
    }

    fn shape(&self) -> Shape {
        let keys = if self.context == 0 { self.tokens } else { self.context };
        Shape { queries: self.tokens, keys, dim: self.dim, heads: self.heads }
    }

    fn check(&self, Input { x, context, parameters, branches }: Input<'_>) {
        assert!(self.heads > 0 && self.dim.is_multiple_of(self.heads), "the width is a multiple of the heads");
        assert!(self.dim > 0 && self.hidden > 0 && self.tokens > 0, "a block has a width and tokens");
        assert_eq!(x.len(), self.rows() * self.dim, "x is [B N, D]");
        assert_eq!(context.len(), self.batch * self.context * self.dim, "the context is [B C, D]");
        for (parameter, len) in parameters.into_array().iter().zip(self.parameter_lens().into_array()) {
            assert_eq!(parameter.len(), len, "a parameter has another size");
        }
        if let Some(Branches { attention, mlp }) = branches {
            assert!(attention.len() == self.batch && mlp.len() == self.batch, "a branch has one factor an image");
        }
    }

    /// The part of `input` that belongs to some images.
    fn images<'a>(&self, input: Input<'a>, images: Range<usize>) -> Input<'a> {
        let part = |data: &'a [f32], size: usize| &data[images.start * size..images.end * size];
        Input {
            x: part(input.x, self.tokens * self.dim),
            context: part(input.context, self.context * self.dim),
            branches: input.branches.map(|branches| branches.images(images.clone())),
            ..input
        }
    }

    /// Images of each shard.
    fn shards(&self, plan: Plan) -> Vec<Range<usize>> {
        let shards = plan.shards.clamp(1, self.batch.max(1));
        (0..shards).map(|shard| shard * self.batch / shards..(shard + 1) * self.batch / shards).collect()
    }

    /// Images of a chunk.
    fn chunk(&self) -> usize {
        (CHUNK_ROWS / self.tokens.max(self.context)).max(1)
    }

    /// Returns the output, `[B N, D]`, and with `save` what [`Self::backward`] needs.
    ///
    /// # Panics
    /// If a slice has another length than the sizes say.
    #[must_use]
    pub fn forward(&self, plan: Plan, input: Input<'_>, save: bool) -> (Vec<f32>, Option<Saved>) {
        self.check(input);
        let (size, sizes, shards) = (self.tokens * self.dim, self.sizes(), self.shards(plan));
        let weights = Forward::pack(plan.engine, self, input.parameters);
        let mut out = vec![0.0; input.x.len()];
        let mut saved = save.then(|| Saved::take(sizes, self.batch, plan.engine.products()));
        let mut whole = saved.as_mut().map(Saved::whole);
        let part = |shard: &Range<usize>| whole.as_mut().map(|whole| whole.take(shard.len()));
        let parts: Vec<_> = shards.iter().map(part).collect();
        let jobs: Vec<_> = split(&mut out, &shards, size).into_iter().zip(parts).zip(shards).collect();
        jobs.into_par_iter().for_each(|((mut out, mut part), images)| {
            // Without `save`, every chunk writes over the state of the one before, which nobody reads.
            let mut own = part.is_none().then(|| Saved::take(sizes, self.chunk(), None));
            for images in chunks(images, self.chunk()) {
                let count = images.len();
                let state = match (&mut part, &mut own) {
                    (Some(part), _) => part.take(count),
                    (None, own) => own.get_or_insert_with(|| Saved::take(sizes, count, None)).whole().take(count),
                };
                let out = cut(&mut out, count * size);
                self.forward_chunk(plan.engine, self.images(input, images), &weights, state, out);
            }
        });
        (out, saved)
    }

    /// One chunk. `out`: `[R, D]`.
    fn forward_chunk(
        &self,
        engine: Engine,
        input: Input<'_>,
        weights: &Forward,
        saved: SavedPart<'_>,
        out: &mut [f32],
    ) {
        let Input { x, context, parameters: p, branches } = input;
        let (d, f, rows, arch) = (self.dim, self.hidden, x.len() / self.dim, engine.arch());
        let SavedPart { own, context: others, attended, middle, hidden, norm1, norm2, .. } = saved;
        let (mut own, mut others, mut attended) = (own.working(), others.working(), attended.working());
        let mut hidden = hidden.working();
        let mut normed = Buffer::take(rows * d);
        norm::forward(arch, x, p.norm1_weight, p.norm1_bias, self.eps, &mut normed, norm1);
        let times = |a: &[f32], depth, panels, columns, init: Init<'_>, c: &mut [f32]| {
            let (rows, a, b) = (a.len() / depth, Left::Rows(a, depth), Right::Panels(panels));
            product(engine, rows, columns, depth, a, b, init, c, columns);
        };
        // The end of a branch: `c = x + factor (a W + bias)`.
        let residual = |a: &[f32], depth, panels, bias, x: &[f32], factors: Option<&[f32]>, c: &mut [f32]| {
            let init = if factors.is_some() { Init::Bias(bias) } else { Init::BiasAnd(bias, x) };
            times(a, depth, panels, d, init, c);
            if let Some(factors) = factors {
                let size = self.tokens * d;
                for ((c, x), factor) in c.chunks_exact_mut(size).zip(x.chunks_exact(size)).zip(factors) {
                    c.iter_mut().zip(x).for_each(|(c, x)| *c = x + factor * *c);
                }
            }
        };
        let width = self.sizes().own();
        let (own_bias, others_bias) = p.qkv_bias.split_at(width);
        times(&normed, d, &weights.own, width, Init::Bias(own_bias), &mut own);
        if self.context > 0 {
            times(context, d, &weights.context, 2 * d, Init::Bias(others_bias), &mut others);
        }
        let mut scratch = Buffer::take(self.shape().forward_scratch());
        for (image, out) in attended.chunks_exact_mut(self.tokens * d).enumerate() {
            attention::forward(engine, self.shape(), self.attended(&own, &others, image), out, &mut scratch);
        }
        residual(&attended, d, &weights.proj, p.proj_bias, x, branches.map(|b| b.attention), middle);
        norm::forward(arch, middle, p.norm2_weight, p.norm2_bias, self.eps, &mut normed, norm2);
        times(&normed, d, &weights.fc1, f, Init::Bias(p.fc1_bias), &mut hidden);
        let mut active = Buffer::take(rows * f);
        gelu::forward(arch, &hidden, &mut active);
        residual(&active, f, &weights.fc2, p.fc2_bias, middle, branches.map(|b| b.mlp), out);
        [own, others, attended, hidden].into_iter().for_each(Working::keep);
    }

    /// What attention reads of one image of a chunk.
    fn attended<'a>(&self, own: &'a [f32], others: &'a [f32], image: usize) -> Inputs<'a> {
        let (own_size, size) = (self.tokens * self.sizes().own(), self.context * 2 * self.dim);
        let own = &own[image * own_size..][..own_size];
        if size == 0 { Inputs::Together(own) } else { Inputs::Apart(own, &others[image * size..][..size]) }
    }

    /// The gradients of parameters, tokens and context from `grad: [B N, D]`, that of the output. `input` and
    /// `saved` are the forward pass's.
    ///
    /// # Panics
    /// If a slice has another length than the sizes say.
    #[must_use]
    pub fn backward(&self, plan: Plan, grad: &[f32], input: Input<'_>, saved: &Saved) -> Gradients {
        self.check(input);
        assert!(
            grad.len() == input.x.len() && saved.norm1.len() == self.rows(),
            "gradient and saved state are of this batch"
        );
        let weights = Backward::pack(plan.engine, self, input.parameters);
        let (mut x_grad, mut context_grad) = (vec![0.0; input.x.len()], vec![0.0; input.context.len()]);
        let (size, context_size) = (self.tokens * self.dim, self.context * self.dim);
        let shards = self.shards(plan);
        let parts =
            split(&mut x_grad, &shards, size).into_iter().zip(split(&mut context_grad, &shards, context_size));
        let jobs: Vec<_> = shards.iter().cloned().zip(parts).collect();
        let sums: Vec<Parameters<Vec<f32>>> = jobs
            .into_par_iter()
            .map(|(images, (mut x_grad, mut context_grad))| {
                let mut sums = Parameters::from_array(self.parameter_lens().into_array().map(|len| vec![0.0; len]));
                for images in chunks(images, self.chunk()) {
                    let to = ChunkGradients {
                        sums: &mut sums,
                        x: cut(&mut x_grad, images.len() * size),
                        context: cut(&mut context_grad, images.len() * context_size),
                    };
                    let grad = &grad[images.start * size..images.end * size];
                    let saved = saved.images(images.clone());
                    self.backward_chunk(plan.engine, grad, self.images(input, images), &weights, saved, to);
                }
                sums
            })
            .collect();
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_default().into_array();
        for other in sums {
            for (total, other) in total.iter_mut().zip(other.into_array()) {
                vector::add(plan.engine.arch(), total, &other);
            }
        }
        Gradients { parameters: Parameters::from_array(total), x: x_grad, context: context_grad }
    }

    /// One chunk. `grad`: `[R, D]`.
    fn backward_chunk(
        &self,
        engine: Engine,
        grad: &[f32],
        input: Input<'_>,
        weights: &Backward,
        saved: SavedImages<'_>,
        to: ChunkGradients<'_>,
    ) {
        let Input { x, context, parameters: p, branches } = input;
        let ChunkGradients { sums, x: middle_grad, context: context_grad } = to;
        let (d, f, rows, arch) = (self.dim, self.hidden, x.len() / self.dim, engine.arch());
        // dX = dY W^T.
        let back = |grad: &[f32], depth, panels, columns, c: &mut [f32]| {
            let (rows, a, b) = (grad.len() / depth, Left::Rows(grad, depth), Right::Panels(panels));
            product(engine, rows, columns, depth, a, b, Init::Zero, c, columns);
        };
        // dW += X^T dY, where rows of W are `stride` long.
        let weight = |x: &[f32], inputs, grad: &[f32], outputs, sum: &mut [f32], stride| {
            let (rows, a, b) = (x.len() / inputs, Left::Columns(x, inputs), Right::Rows(grad, outputs));
            product(engine, inputs, outputs, rows, a, b, Init::Sum, sum, stride);
        };
        let mut normed = Buffer::take(rows * d);
        let mut statistics = vec![[0.0; 2]; rows];
        let mut narrow = Buffer::take(rows * d);
        // The gradient of a branch's end, where it has factors.
        let branch = |grad: &[f32], factors: &[f32]| {
            let (mut scaled, size) = (Buffer::take(grad.len()), self.tokens * d);
            for ((to, from), factor) in scaled.chunks_exact_mut(size).zip(grad.chunks_exact(size)).zip(factors) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = factor * from);
            }
            scaled
        };

        // MLP.
        let mut wide = Buffer::take(rows * f);
        let mut active = Buffer::take(rows * f);
        let scaled = branches.map(|branches| branch(grad, branches.mlp));
        let end = scaled.as_deref().unwrap_or(grad);
        back(end, d, &weights.fc2, f, &mut wide);
        gelu::backward(arch, &saved.hidden.read(arch), &mut wide, &mut active);
        weight(&active, f, end, d, &mut sums.fc2_weight, d);
        vector::add_rows(arch, &mut sums.fc2_bias, end);
        drop(active);
        norm::forward(arch, saved.middle, p.norm2_weight, p.norm2_bias, self.eps, &mut normed, &mut statistics);
        weight(&normed, d, &wide, f, &mut sums.fc1_weight, f);
        vector::add_rows(arch, &mut sums.fc1_bias, &wide);
        back(&wide, f, &weights.fc1, d, &mut narrow);
        drop(wide);
        middle_grad.copy_from_slice(grad);
        norm::backward(
            arch,
            &narrow,
            saved.middle,
            p.norm2_weight,
            saved.norm2,
            middle_grad,
            &mut sums.norm2_weight,
            &mut sums.norm2_bias,
        );

        // Attention.
        let scaled = branches.map(|branches| branch(middle_grad, branches.attention));
        let end = scaled.as_deref().unwrap_or(middle_grad);
        weight(&saved.attended.read(arch), d, end, d, &mut sums.proj_weight, d);
        vector::add_rows(arch, &mut sums.proj_bias, end);
        back(end, d, &weights.proj, d, &mut narrow);
        let width = self.sizes().own();
        let (own, others) = (saved.own.read(arch), saved.context.read(arch));
        let mut own_grad = Buffer::take(rows * width);
        let mut others_grad = Buffer::take(others.len());
        let mut scratch = Buffer::take(self.shape().backward_scratch());
        let (mut own_left, mut others_left) = (&mut own_grad[..], &mut others_grad[..]);
        for (image, grad) in narrow.chunks_exact(self.tokens * d).enumerate() {
            let own_grad = cut(&mut own_left, self.tokens * width);
            let grads = match cut(&mut others_left, self.context * 2 * d) {
                [] => InputGrads::Together(own_grad),
                others_grad => InputGrads::Apart(own_grad, others_grad),
            };
            let inputs = self.attended(&own, &others, image);
            attention::backward(engine, self.shape(), inputs, grad, grads, &mut scratch);
        }
        norm::forward(arch, x, p.norm1_weight, p.norm1_bias, self.eps, &mut normed, &mut statistics);
        weight(&normed, d, &own_grad, width, &mut sums.qkv_weight, 3 * d);
        let (own_bias, others_bias) = sums.qkv_bias.split_at_mut(width);
        vector::add_rows(arch, own_bias, &own_grad);
        if self.context > 0 {
            weight(context, d, &others_grad, 2 * d, &mut sums.qkv_weight[width..], 3 * d);
            vector::add_rows(arch, others_bias, &others_grad);
            back(&others_grad, 2 * d, &weights.context, d, context_grad);
        }
        back(&own_grad, width, &weights.own, d, &mut narrow);
        norm::backward(
            arch,
            &narrow,
            x,
            p.norm1_weight,
            saved.norm1,
            middle_grad,
            &mut sums.norm1_weight,
            &mut sums.norm1_bias,
        );
    }
}

impl Forward {
    fn pack(engine: Engine, block: &Block, p: &Parameters<&[f32]>) -> Self {
        let (d, f, own) = (block.dim, block.hidden, block.sizes().own());
        Self {
            own: Panels::pack(engine, p.qkv_weight, 3 * d, d, own),
            context: Panels::pack(engine, &p.qkv_weight[own..], 3 * d, d, 3 * d - own),
            proj: Panels::pack(engine, p.proj_weight, d, d, d),
            fc1: Panels::pack(engine, p.fc1_weight, f, d, f),
            fc2: Panels::pack(engine, p.fc2_weight, d, f, d),
        }
    }
}

impl Backward {
    fn pack(engine: Engine, block: &Block, p: &Parameters<&[f32]>) -> Self {
        let (d, f, own) = (block.dim, block.hidden, block.sizes().own());
        Self {
            own: Panels::pack_transposed(engine, p.qkv_weight, 3 * d, own, d),
            context: Panels::pack_transposed(engine, &p.qkv_weight[own..], 3 * d, 3 * d - own, d),
            proj: Panels::pack_transposed(engine, p.proj_weight, d, d, d),
            fc1: Panels::pack_transposed(engine, p.fc1_weight, f, f, d),
            fc2: Panels::pack_transposed(engine, p.fc2_weight, d, d, f),
        }
    }
}

/// Cuts `data`, `size` elements an image, into the parts of the shards.
fn split<'a, T>(mut data: &'a mut [T], shards: &[Range<usize>], size: usize) -> Vec<&'a mut [T]> {
    shards.iter().map(|shard| cut(&mut data, shard.len() * size)).collect()
}

/// `images` in chunks of `size`.
fn chunks(images: Range<usize>, size: usize) -> impl Iterator<Item = Range<usize>> {
    let end = images.end;
    images.step_by(size).map(move |start| start..(start + size).min(end))
}
