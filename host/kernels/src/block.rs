//! A pre-norm transformer block: `y = x + attention(norm(x))`, `z = y + mlp(norm(y))`, forward and backward.
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
    attention::{self, Shape},
    gelu, norm,
    pool::Buffer,
    product::{Init, Left, Panels, Right, product},
    saved::{SavedPart, SavedRows, Widths, cut},
    vector,
};
use pulp::Arch;
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

/// Gradients of a block.
#[derive(Debug)]
pub struct Gradients {
    /// Of the parameters.
    pub parameters: Parameters<Vec<f32>>,
    /// Of the input, `[B N, D]`.
    pub x: Vec<f32>,
}

/// The weights as a forward pass reads them.
struct Forward {
    qkv: Panels,
    proj: Panels,
    fc1: Panels,
    fc2: Panels,
}

/// The transposed weights as a backward pass reads them.
struct Backward {
    qkv: Panels,
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

    fn widths(&self) -> Widths {
        Widths { dim: self.dim, hidden: self.hidden }
    }

    fn shape(&self) -> Shape {
        Shape { tokens: self.tokens, dim: self.dim, heads: self.heads }
    }

    fn check(&self, x: &[f32], parameters: &Parameters<&[f32]>, branches: Option<Branches<'_>>) {
        assert!(self.heads > 0 && self.dim.is_multiple_of(self.heads), "the width is a multiple of the heads");
        assert!(self.dim > 0 && self.hidden > 0 && self.tokens > 0, "a block has a width and tokens");
        assert_eq!(x.len(), self.rows() * self.dim, "x is [B N, D]");
        for (parameter, len) in parameters.into_array().iter().zip(self.parameter_lens().into_array()) {
            assert_eq!(parameter.len(), len, "a parameter has another size");
        }
        if let Some(Branches { attention, mlp }) = branches {
            assert!(attention.len() == self.batch && mlp.len() == self.batch, "a branch has one factor an image");
        }
    }

    /// Images of each shard.
    fn shards(&self, plan: Plan) -> Vec<Range<usize>> {
        let shards = plan.shards.clamp(1, self.batch.max(1));
        (0..shards).map(|shard| shard * self.batch / shards..(shard + 1) * self.batch / shards).collect()
    }

    /// Images of a chunk.
    fn chunk(&self) -> usize {
        (CHUNK_ROWS / self.tokens).max(1)
    }

    /// `x`: `[B N, D]`. Returns the output, `[B N, D]`, and with `save` what [`Self::backward`] needs. Without
    /// `branches` all factors are 1.
    ///
    /// # Panics
    /// If a slice has another length than the sizes say.
    #[must_use]
    pub fn forward(
        &self,
        plan: Plan,
        x: &[f32],
        parameters: &Parameters<&[f32]>,
        branches: Option<Branches<'_>>,
        save: bool,
    ) -> (Vec<f32>, Option<Saved>) {
        self.check(x, parameters, branches);
        let (size, shards) = (self.tokens * self.dim, self.shards(plan));
        let weights = Forward::pack(plan.arch, self, parameters);
        let mut out = vec![0.0; x.len()];
        let mut saved = save.then(|| Saved::take(self.widths(), self.rows()));
        let mut whole = saved.as_mut().map(Saved::whole);
        let part =
            |shard: &Range<usize>| whole.as_mut().map(|whole| whole.take(self.widths(), shard.len() * self.tokens));
        let parts: Vec<_> = shards.iter().map(part).collect();
        let jobs: Vec<_> = split(&mut out, &shards, size).into_iter().zip(parts).zip(shards).collect();
        jobs.into_par_iter().for_each(|((out, mut part), images)| {
            let x = &x[images.start * size..images.end * size];
            let branches = branches.map(|branches| branches.images(images.clone()));
            // Without `save`, every chunk writes over the state of the one before.
            let mut own = part.is_none().then(|| Saved::take(self.widths(), self.chunk() * self.tokens));
            let chunk = self.chunk() * size;
            for ((x, out), first) in x.chunks(chunk).zip(out.chunks_mut(chunk)).zip((0..).step_by(self.chunk())) {
                let rows = x.len() / self.dim;
                let branches = branches.map(|branches| branches.images(first..first + rows / self.tokens));
                let state = match (&mut part, &mut own) {
                    (Some(part), _) => part.take(self.widths(), rows),
                    (None, own) => {
                        own.get_or_insert_with(|| Saved::take(self.widths(), rows)).whole().take(self.widths(), rows)
                    }
                };
                self.forward_chunk(plan.arch, x, parameters, branches, &weights, state, out);
            }
        });
        (out, saved)
    }

    /// One chunk. `x`, `out`: `[R, D]`.
    #[expect(clippy::too_many_arguments, reason = "inputs, state and output of a chunk")]
    fn forward_chunk(
        &self,
        arch: Arch,
        x: &[f32],
        p: &Parameters<&[f32]>,
        branches: Option<Branches<'_>>,
        weights: &Forward,
        saved: SavedPart<'_>,
        out: &mut [f32],
    ) {
        let (d, f, rows) = (self.dim, self.hidden, x.len() / self.dim);
        let SavedPart { qkv, attended, middle, hidden, norm1, norm2 } = saved;
        let mut normed = Buffer::take(rows * d);
        norm::forward(arch, x, p.norm1_weight, p.norm1_bias, self.eps, &mut normed, norm1);
        let times = |a: &[f32], depth, panels, columns, init: Init<'_>, c: &mut [f32]| {
            let (a, b) = (Left::Rows(a, depth), Right::Panels(panels));
            product(arch, rows, columns, depth, a, b, init, c, columns);
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
        times(&normed, d, &weights.qkv, 3 * d, Init::Bias(p.qkv_bias), qkv);
        let mut scratch = Buffer::take(self.shape().forward_scratch());
        for (qkv, out) in qkv.chunks_exact(self.tokens * 3 * d).zip(attended.chunks_exact_mut(self.tokens * d)) {
            attention::forward(arch, self.shape(), qkv, out, &mut scratch);
        }
        residual(attended, d, &weights.proj, p.proj_bias, x, branches.map(|b| b.attention), middle);
        norm::forward(arch, middle, p.norm2_weight, p.norm2_bias, self.eps, &mut normed, norm2);
        times(&normed, d, &weights.fc1, f, Init::Bias(p.fc1_bias), hidden);
        let mut active = Buffer::take(rows * f);
        gelu::forward(arch, hidden, &mut active);
        residual(&active, f, &weights.fc2, p.fc2_bias, middle, branches.map(|b| b.mlp), out);
    }

    /// The gradients of parameters and input from `grad: [B N, D]`, that of the output. `x`, `branches` and `saved`
    /// are the forward pass's.
    ///
    /// # Panics
    /// If a slice has another length than the sizes say.
    #[must_use]
    pub fn backward(
        &self,
        plan: Plan,
        grad: &[f32],
        x: &[f32],
        parameters: &Parameters<&[f32]>,
        branches: Option<Branches<'_>>,
        saved: &Saved,
    ) -> Gradients {
        self.check(x, parameters, branches);
        assert!(
            grad.len() == x.len() && saved.norm1.len() == self.rows(),
            "gradient and saved state are of this batch"
        );
        let weights = Backward::pack(plan.arch, self, parameters);
        let mut x_grad = vec![0.0; x.len()];
        let shards = self.shards(plan);
        let jobs: Vec<_> = shards.iter().cloned().zip(split(&mut x_grad, &shards, self.tokens * self.dim)).collect();
        let sums: Vec<Parameters<Vec<f32>>> = jobs
            .into_par_iter()
            .map(|(images, x_grad)| {
                let mut sums = Parameters::from_array(self.parameter_lens().into_array().map(|len| vec![0.0; len]));
                let first = images.start;
                for chunk in chunks(images, self.chunk()) {
                    let size = self.tokens * self.dim;
                    let at = chunk.start * size..chunk.end * size;
                    let x_grad = &mut x_grad[(chunk.start - first) * size..(chunk.end - first) * size];
                    let rows = chunk.start * self.tokens..chunk.end * self.tokens;
                    self.backward_chunk(
                        plan.arch,
                        &grad[at.clone()],
                        &x[at],
                        parameters,
                        branches.map(|branches| branches.images(chunk)),
                        &weights,
                        saved.rows(self.widths(), rows),
                        &mut sums,
                        x_grad,
                    );
                }
                sums
            })
            .collect();
        let mut sums = sums.into_iter();
        let mut total = sums.next().unwrap_or_default().into_array();
        for other in sums {
            for (total, other) in total.iter_mut().zip(other.into_array()) {
                vector::add(plan.arch, total, &other);
            }
        }
        Gradients { parameters: Parameters::from_array(total), x: x_grad }
    }

    /// One chunk. `grad`, `x`, `x_grad`: `[R, D]`.
    #[expect(clippy::too_many_arguments, reason = "inputs, state and gradients of a chunk")]
    fn backward_chunk(
        &self,
        arch: Arch,
        grad: &[f32],
        x: &[f32],
        p: &Parameters<&[f32]>,
        branches: Option<Branches<'_>>,
        weights: &Backward,
        saved: SavedRows<'_>,
        sums: &mut Parameters<Vec<f32>>,
        x_grad: &mut [f32],
    ) {
        let (d, f, rows) = (self.dim, self.hidden, x.len() / self.dim);
        // dX = dY W^T.
        let back = |grad: &[f32], depth, panels, columns, c: &mut [f32]| {
            let (a, b) = (Left::Rows(grad, depth), Right::Panels(panels));
            product(arch, rows, columns, depth, a, b, Init::Zero, c, columns);
        };
        // dW += X^T dY.
        let weight = |x: &[f32], inputs, grad: &[f32], outputs, sum: &mut [f32]| {
            let (a, b) = (Left::Columns(x, inputs), Right::Rows(grad, outputs));
            product(arch, inputs, outputs, rows, a, b, Init::Sum, sum, outputs);
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
        gelu::backward(arch, saved.hidden, &mut wide, &mut active);
        weight(&active, f, end, d, &mut sums.fc2_weight);
        vector::add_rows(arch, &mut sums.fc2_bias, end);
        drop(active);
        norm::forward(arch, saved.middle, p.norm2_weight, p.norm2_bias, self.eps, &mut normed, &mut statistics);
        weight(&normed, d, &wide, f, &mut sums.fc1_weight);
        vector::add_rows(arch, &mut sums.fc1_bias, &wide);
        back(&wide, f, &weights.fc1, d, &mut narrow);
        drop(wide);
        let middle_grad = x_grad;
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
        weight(saved.attended, d, end, d, &mut sums.proj_weight);
        vector::add_rows(arch, &mut sums.proj_bias, end);
        back(end, d, &weights.proj, d, &mut narrow);
        let mut qkv_grad = Buffer::take(rows * 3 * d);
        let mut scratch = Buffer::take(self.shape().backward_scratch());
        let images = saved.qkv.chunks_exact(self.tokens * 3 * d).zip(narrow.chunks_exact(self.tokens * d));
        for ((qkv, grad), qkv_grad) in images.zip(qkv_grad.chunks_exact_mut(self.tokens * 3 * d)) {
            attention::backward(arch, self.shape(), qkv, grad, qkv_grad, &mut scratch);
        }
        norm::forward(arch, x, p.norm1_weight, p.norm1_bias, self.eps, &mut normed, &mut statistics);
        weight(&normed, d, &qkv_grad, 3 * d, &mut sums.qkv_weight);
        vector::add_rows(arch, &mut sums.qkv_bias, &qkv_grad);
        back(&qkv_grad, 3 * d, &weights.qkv, d, &mut narrow);
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
    fn pack(arch: Arch, block: &Block, p: &Parameters<&[f32]>) -> Self {
        let (d, f) = (block.dim, block.hidden);
        Self {
            qkv: Panels::pack(arch, p.qkv_weight, 3 * d, d, 3 * d),
            proj: Panels::pack(arch, p.proj_weight, d, d, d),
            fc1: Panels::pack(arch, p.fc1_weight, f, d, f),
            fc2: Panels::pack(arch, p.fc2_weight, d, f, d),
        }
    }
}

impl Backward {
    fn pack(arch: Arch, block: &Block, p: &Parameters<&[f32]>) -> Self {
        let (d, f) = (block.dim, block.hidden);
        Self {
            qkv: Panels::pack_transposed(arch, p.qkv_weight, 3 * d, 3 * d, d),
            proj: Panels::pack_transposed(arch, p.proj_weight, d, d, d),
            fc1: Panels::pack_transposed(arch, p.fc1_weight, f, f, d),
            fc2: Panels::pack_transposed(arch, p.fc2_weight, d, d, f),
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
