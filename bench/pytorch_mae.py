"""The rival of `host bench pretrain`: the same masked autoencoder in plain PyTorch, as fast as PyTorch gets it.

Written from the paper (arXiv 2111.06377) and docs/benchmarks.md alone. One step is what `host pretrain` does: draw the
masks, forward, backward, AdamW. Choices that change only the speed follow what is faster: visible patches are picked
before the patch projection (the paper's order projects all, four times as many), tokens return to their places by one
flat `index_select`, AdamW is the fused one, and `--attention` offers three ways.

    python bench/pytorch_mae.py --preset pico-32 --batch-size 128 --threads 2 [--compile] [--json]
    python bench/pytorch_mae.py --exchange DIR      # the steps that `host bench pretrain --exchange DIR` did
"""

import argparse
import json
import os
import resource
import statistics
import sys
import time
import tomllib
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "models"
# Largest difference of a loss, and of the weights relative to how far they moved.
TOLERANCE, WEIGHTS_TOLERANCE = 1e-4, 5e-5


def misuse(message: str):
    print(f"pytorch_mae.py: {message}", file=sys.stderr)
    sys.exit(2)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def processors_here() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--preset", metavar="NAME", help="a preset of models/ [default: pico-32]")
    source.add_argument("--config", metavar="FILE", type=Path, help="a preset file of your own")
    source.add_argument("--exchange", metavar="DIR", type=Path, help="redo the steps in DIR and compare the losses")
    parser.add_argument("--batch-size", metavar="N", type=positive, help="images a step [default: the preset's]")
    parser.add_argument("--threads", metavar="T", type=positive, default=processors_here(), help="[default: all]")
    parser.add_argument("--steps", metavar="N", type=positive, default=20, help="at least this many timed steps")
    parser.add_argument("--seconds", metavar="S", type=float, default=0.0, help="... and for at least this long")
    parser.add_argument("--warm-up", metavar="N", type=positive, default=5, help="steps before the timed ones")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: autocast, weights stay f32")
    parser.add_argument("--compile", action="store_true", help="torch.compile instead of eager")
    parser.add_argument("--compile-mode", default="default", help="mode of torch.compile")
    parser.add_argument(
        "--attention",
        choices=["sdpa", "sdpa-math", "products"],
        default="sdpa",
        help="scaled_dot_product_attention with the kernel it picks, with its `math` kernel, or two products and a softmax",
    )
    parser.add_argument("--adamw", choices=["fused", "foreach", "loop"], default="fused")
    parser.add_argument("--seed", metavar="N", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def read_preset(args: argparse.Namespace) -> tuple[str, dict, dict]:
    """Name, [model] and [train] of the preset."""
    path = args.config or MODELS / f"{args.preset or 'pico-32'}.toml"
    try:
        preset = tomllib.loads(path.read_text())
        return path.stem, preset["model"], preset["train"]
    except OSError as error:
        misuse(f"cannot read {path}: {error.strerror}")
    except (tomllib.TOMLDecodeError, KeyError) as error:
        misuse(f"{path} is not a usable preset: {error}")


args = arguments()
# Before torch is loaded, so that every pool in it is bounded; to the same processors as `host bench --threads`.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
if hasattr(os, "sched_setaffinity"):
    processors = sorted(os.sched_getaffinity(0))
    if args.threads > len(processors):
        misuse(f"--threads {args.threads}: from 1 to {len(processors)} on this machine")
    os.sched_setaffinity(0, processors[: args.threads])
try:
    import torch
except ImportError as error:
    misuse(f"{sys.executable} has no PyTorch ({error}): pip install -r bench/requirements.txt")
import torch.nn.functional as F
from torch import Tensor, nn

# ---- the model

EPS = 1e-6


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if args.attention == "products":
            x = (q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1)).softmax(-1) @ v
        else:
            x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm."""

    def __init__(self, dim: int, heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    """A Linear on patch vectors; the checkpoint's convolution weight is permuted when it is loaded."""

    def __init__(self, values: int, dim: int):
        super().__init__()
        self.proj = nn.Linear(values, dim)


def positions(rows: int, cols: int, dim: int) -> Tensor:
    """2-D sine-cosine table [rows * cols, dim]: the first half of a vector encodes the column, the second the row."""
    omega = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))

    def half(place: Tensor) -> Tensor:
        angle = place.reshape(-1, 1).double() * omega
        return torch.cat([angle.sin(), angle.cos()], 1)

    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    return torch.cat([half(col), half(row)], 1).float()


class Mae(nn.Module):
    def __init__(self, c: dict):
        super().__init__()
        patch, ratio = c["patch_size"], c.get("mlp_ratio", 4.0)
        rows, cols = c["image_height"] // patch, c["image_width"] // patch
        self.patches, self.values = rows * cols, patch * patch * c.get("channels", 3)
        dim, width = c["dim"], c["decoder_dim"]
        self.norm_pix_loss = c.get("norm_pix_loss", True)
        self.patch_embed = PatchEmbed(self.values, dim)
        self.cls_token = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.blocks = nn.ModuleList(Block(dim, c["heads"], ratio) for _ in range(c["depth"]))
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.decoder_embed = nn.Linear(dim, width)
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        blocks = (Block(width, c["decoder_heads"], ratio) for _ in range(c["decoder_depth"]))
        self.decoder_blocks = nn.ModuleList(blocks)
        self.decoder_norm = nn.LayerNorm(width, eps=EPS)
        self.decoder_pred = nn.Linear(width, self.values)
        self.register_buffer("pos_embed", positions(rows, cols, dim), persistent=False)
        self.register_buffer("decoder_pos_embed", positions(rows, cols, width), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def encode(self, patches: Tensor, ids_keep: Tensor) -> Tensor:
        batch, visible = ids_keep.shape
        first = torch.arange(batch).unsqueeze(1) * self.patches
        rows = patches.reshape(-1, self.values).index_select(0, (first + ids_keep).view(-1))
        x = self.patch_embed.proj(rows) + self.pos_embed.index_select(0, ids_keep.reshape(-1))
        x = torch.cat([self.cls_token.expand(batch, -1, -1), x.view(batch, visible, -1)], 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def decode(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        batch, tokens, _ = latent.shape
        x = self.decoder_embed(latent)
        width, visible = x.shape[-1], tokens - 1
        # All visible rows, then one row for the mask token, to which every removed place points.
        rows = torch.cat([x[:, 1:].reshape(-1, width), self.mask_token.view(1, width)])
        first = torch.arange(batch).unsqueeze(1) * visible
        ids = torch.where(ids_restore < visible, first + ids_restore, batch * visible)
        places = rows.index_select(0, ids.view(-1)).view(batch, self.patches, width) + self.decoder_pos_embed
        x = torch.cat([x[:, :1], places], 1)
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]

    def forward(self, patches: Tensor, ids_keep: Tensor, ids_restore: Tensor) -> Tensor:
        """Normalised pixels [B, L, P], kept patches [B, V], shuffled place of each patch [B, L] -> the loss."""
        pred = self.decode(self.encode(patches, ids_keep), ids_restore)
        # Under autocast the prediction is bf16; the loss is not.
        pred, target = pred.float(), patches
        if self.norm_pix_loss:
            var, mean = torch.var_mean(patches, -1, keepdim=True)
            target = (patches - mean) / (var + 1e-6).sqrt()
        mask = (ids_restore >= ids_keep.shape[1]).float()
        return (((pred - target) ** 2).mean(-1) * mask).sum() / mask.sum()


def random_masking(batch: int, patches: int, visible: int) -> tuple[Tensor, Tensor]:
    """Noise is sorted and the smallest kept. Returns ids_keep [B, V] and ids_restore [B, L]."""
    ids_shuffle = torch.rand(batch, patches).argsort(1)
    return ids_shuffle[:, :visible], ids_shuffle.argsort(1)


def adamw(model: nn.Module, weight_decay: float) -> torch.optim.AdamW:
    """Weight decay on matrices and tokens, none on biases and norms."""
    named = list(model.named_parameters())
    plain = [p for name, p in named if p.ndim <= 1 or name.endswith(".bias")]
    decayed = [p for name, p in named if p.ndim > 1 and not name.endswith(".bias")]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]
    kind = {"fused": {"fused": True}, "foreach": {"foreach": True}, "loop": {"foreach": False}}[args.adamw]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, **kind)


def build(config: dict, weight_decay: float, weights: dict | None = None):
    """The model, what computes the loss (compiled if asked for), and the optimizer."""
    model = Mae(config)
    if weights is not None:
        load(model, weights)
    optimizer = adamw(model, weight_decay)
    forward = torch.compile(model, mode=args.compile_mode, dynamic=False) if args.compile else model
    if args.attention == "sdpa-math":
        from torch.nn.attention import SDPBackend, sdpa_kernel

        inner = forward

        def forward(*inputs):
            with sdpa_kernel(SDPBackend.MATH):
                return inner(*inputs)

    if args.precision == "bf16":
        exact = forward

        def forward(*inputs):
            with torch.autocast("cpu", torch.bfloat16):
                return exact(*inputs)

    return model, forward, optimizer


def load(model: Mae, weights: dict) -> None:
    """Official names; a convolution [D, C, p, p] becomes a Linear on patches with the channel fastest."""
    name = "patch_embed.proj.weight"
    weights = {**weights, name: weights[name].permute(0, 2, 3, 1).flatten(1)}
    model.load_state_dict(weights, strict=True)


# ---- the exchange: the same steps from the same weights


def exchange(folder: Path) -> int:
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / "config.json").read_text())
        ours = json.loads((folder / "losses.json").read_text())["losses"]
        weights, after = (load_file(folder / f"{name}.safetensors") for name in ("weights", "weights_after"))
    except OSError as error:
        misuse(f"{folder} holds no exchange ({error}): host bench pretrain --exchange {folder}")
    model, forward, optimizer = build(config["model"], config["weight_decay"], weights)
    theirs = []
    for step, lr in enumerate(config["lr"]):
        batch = load_file(folder / f"step-{step:03}.safetensors")
        loss = forward(batch["patches"], batch["ids_keep"].long(), batch["ids_restore"].long())
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        theirs.append(loss.item())
    if len(theirs) != len(ours) or not theirs:
        misuse(f"{folder} names {len(ours)} losses and {len(theirs)} steps")
    # NaN must not pass: max() may drop it.
    differences = [abs(a - b) for a, b in zip(ours, theirs)]
    worst = max(differences) if all(d == d for d in differences) else float("inf")
    # The losses of a few steps hardly show a slightly wrong optimizer or epsilon; the weights do.
    found, moved, apart = dict(model.named_parameters()), 0.0, 0.0
    name = "patch_embed.proj.weight"
    for key, value in after.items():
        start, mine = weights[key], found[key].detach()
        if key == name:
            start, value = (t.permute(0, 2, 3, 1).flatten(1) for t in (start, value))
        if key.endswith("attn.qkv.bias"):
            # Keys' biases have gradient 0 (softmax does not see them): AdamW makes steps of the rounding noise.
            start, value, mine = (t.view(3, -1)[::2] for t in (start, value, mine))
        moved += (value - start).double().square().sum().item()
        apart += (value - mine).double().square().sum().item()
    drift = (apart / moved) ** 0.5 if moved > 0 else float("inf")
    fine = worst <= TOLERANCE and drift <= WEIGHTS_TOLERANCE
    report = {
        "program": "pytorch",
        "torch": torch.__version__,
        "mode": "compile" if args.compile else "eager",
        "steps": len(theirs),
        "losses": theirs,
        "host_losses": ours,
        "max_difference": worst,
        "weights_apart": drift,
        "tolerance": TOLERANCE,
        "weights_tolerance": WEIGHTS_TOLERANCE,
        "agrees": fine,
    }
    if args.json:
        print(json.dumps(report))
    else:
        print("step      host   PyTorch   difference")
        for step, (a, b) in enumerate(zip(ours, theirs)):
            print(f"{step:>4}  {a:.6f}  {b:.6f}   {abs(a - b):.1e}")
        print(f"largest difference {worst:.1e} (at most {TOLERANCE:.0e})")
        print(f"weights apart by {drift:.1e} of how far they moved (at most {WEIGHTS_TOLERANCE:.0e})")
        print("agrees" if fine else "DISAGREES")
    return 0 if fine else 1


# ---- the bench


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def matrix_peak() -> float:
    """The best speed of a large square f32 product, GFLOP/s; sides and rounds as in `host bench`."""
    best = 0.0
    for side in (1024, 1536, 2048):
        a, b = torch.rand(side, side), torch.rand(side, side)
        a @ b
        for _ in range(4):
            begin = time.perf_counter()
            a @ b
            best = max(best, 2 * side**3 / (time.perf_counter() - begin) / 1e9)
    return best


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process, bytes; 0 where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def bench() -> int:
    name, config, train = read_preset(args)
    batch = args.batch_size or train["batch_size"]
    torch.manual_seed(args.seed)
    base = resident("VmRSS")
    model, forward, optimizer = build(config, train.get("weight_decay", 0.05))
    patches, values = model.patches, model.values
    visible = int(patches * (1.0 - train.get("mask_ratio", 0.75)))
    pool = [torch.randn(batch, patches, values) for _ in range(4)]

    def step(number: int) -> tuple[float, ...]:
        begin = time.perf_counter()
        loss = forward(pool[number % len(pool)], *random_masking(batch, patches, visible))
        middle = time.perf_counter()
        loss.backward()
        late = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        end = time.perf_counter()
        return end - begin, middle - begin, late - middle, end - late, loss.item()

    begin = time.perf_counter()
    for number in range(args.warm_up):
        last = step(number)
    warm = time.perf_counter() - begin
    steps, begin = [], time.perf_counter()
    while len(steps) < args.steps or time.perf_counter() - begin < args.seconds:
        steps.append(step(len(steps)))
    total, forwards, backwards, updates, losses = zip(*steps)
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    report = {
        "program": "pytorch",
        "version": torch.__version__,
        "mode": "compile" if args.compile else "eager",
        "preset": name,
        "batch_size": batch,
        "threads": args.threads,
        "precision": args.precision,
        "seed": args.seed,
        "steps": len(steps),
        "images_per_second": spread([batch / t for t in total]),
        "ms": spread([1e3 * t for t in total]),
        "parts_ms": {
            "forward": 1e3 * statistics.median(forwards),
            "backward": 1e3 * statistics.median(backwards),
            "optimizer": 1e3 * statistics.median(updates),
        },
        "warm_up_seconds": warm,
        "attention": args.attention,
        "gflops": {"matrix_peak": matrix_peak()},
        "peak_memory_bytes": peak_memory,
        "base_memory_bytes": base,
        "loss": losses[-1],
    }
    if args.json:
        print(json.dumps(report))
        return 0
    speed, ms, parts = report["images_per_second"], report["ms"], report["parts_ms"]
    print(f"PyTorch {torch.__version__}, {report['mode']}: {name}, {batch} images a step, {args.threads} threads")
    print(f"speed    {speed['median']:.0f} images/s (min {speed['min']:.0f}, max {speed['max']:.0f}, {len(steps)} steps)")
    print(f"step     {ms['median']:.1f} ms: " + ", ".join(f"{part} {value:.1f}" for part, value in parts.items()))
    print(f"peak     {report['gflops']['matrix_peak']:.0f} GFLOP/s in large matrix products")
    print(f"memory   {peak_memory / 2**20:.0f} MiB at most, {base / 2**20:.0f} before the model")
    return 0


torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
torch.set_float32_matmul_precision("highest")
sys.exit(exchange(args.exchange) if args.exchange else bench())
