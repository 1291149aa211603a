"""How far five steps of AdamW from the parity checkpoint depend on rounding alone.

    python bench/adamw_rounding.py [--parity tests/parity/mae-32]

A masked autoencoder in plain PyTorch operations (this repository's own code, written from the paper and DESIGN's conventions)
takes the five steps of `adamw_5_steps.safetensors` in f64, in f32, and in f32 with every gradient moved by one unit in the last
place of its tensor's largest. The official implementation's parameters, which are f32, are compared with each. Needs torch and
safetensors.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
LR, DECAY, BETAS, EPS = 1e-3, 0.05, (0.9, 0.95), 1e-8
BOUND = 1e-4
# As host's check (bench/check/steps.rs): below this share of the tensor's largest, a first gradient is small.
SMALL = 1e-5


def attention(x: Tensor, p: dict, name: str, heads: int) -> Tensor:
    batch, tokens, dim = x.shape
    qkv = F.linear(x, p[f"{name}.qkv.weight"], p[f"{name}.qkv.bias"])
    q, k, v = qkv.view(batch, tokens, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
    x = ((q * (dim // heads) ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v
    x = x.transpose(1, 2).reshape(batch, tokens, dim)
    return F.linear(x, p[f"{name}.proj.weight"], p[f"{name}.proj.bias"])


def norm(x: Tensor, p: dict, name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)


def blocks(x: Tensor, p: dict, name: str, depth: int, heads: int) -> Tensor:
    for i in range(depth):
        block = f"{name}.{i}"
        x = x + attention(norm(x, p, f"{block}.norm1"), p, f"{block}.attn", heads)
        hidden = F.gelu(F.linear(norm(x, p, f"{block}.norm2"), p[f"{block}.mlp.fc1.weight"], p[f"{block}.mlp.fc1.bias"]))
        x = x + F.linear(hidden, p[f"{block}.mlp.fc2.weight"], p[f"{block}.mlp.fc2.bias"])
    return x


def loss_of(p: dict, c: dict, patches: Tensor, images: Tensor, keep: Tensor, restore: Tensor) -> Tensor:
    batch, length, _ = patches.shape
    weight = p["patch_embed.proj.weight"]
    x = F.conv2d(images, weight, p["patch_embed.proj.bias"], stride=weight.shape[-1]).flatten(2).transpose(1, 2)
    x = (x + p["pos_embed"][:, 1:]).gather(1, keep.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    cls = (p["cls_token"] + p["pos_embed"][:, :1]).expand(batch, -1, -1)
    x = norm(blocks(torch.cat([cls, x], 1), p, "blocks", c["depth"], c["num_heads"]), p, "norm")
    x = F.linear(x, p["decoder_embed.weight"], p["decoder_embed.bias"])
    tokens = torch.cat([x[:, 1:], p["mask_token"].expand(batch, length - keep.shape[1], -1)], 1)
    tokens = tokens.gather(1, restore.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    x = torch.cat([x[:, :1], tokens], 1) + p["decoder_pos_embed"]
    x = norm(blocks(x, p, "decoder_blocks", c["decoder_depth"], c["decoder_num_heads"]), p, "decoder_norm")
    pred = F.linear(x, p["decoder_pred.weight"], p["decoder_pred.bias"])[:, 1:]
    mean, var = patches.mean(-1, keepdim=True), patches.var(-1, keepdim=True)
    error = (pred - (patches - mean) / (var + 1e-6).sqrt()).pow(2).mean(-1)
    removed = torch.ones(batch, length, dtype=error.dtype).scatter(1, keep, 0.0)
    return (error * removed).sum() / removed.sum()


def five_steps(files: dict, config: dict, dtype: torch.dtype, nudged: bool) -> tuple[dict, list[float]]:
    """Parameters after five steps, and the losses. `nudged`: each gradient is moved by one unit, up or down."""
    forward = files["forward"]
    patches = forward["patches"].to(dtype)
    grid = config["img_size"] // config["patch_size"]
    side = config["patch_size"]
    images = patches.view(-1, grid, grid, side, side, 3).permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, grid * side, grid * side)
    keep, restore = forward["ids_keep"].long(), forward["ids_restore"].long()
    parameters = {name: tensor.to(dtype, copy=True) for name, tensor in files["checkpoint"].items()}
    fixed = {name: parameters.pop(name) for name in list(parameters) if name.endswith("pos_embed")}
    parameters = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
    of = lambda decayed: [t for t in parameters.values() if (t.ndim > 1) == decayed]
    groups = [{"params": of(False), "weight_decay": 0.0}, {"params": of(True), "weight_decay": DECAY}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, eps=EPS)
    generator, losses = torch.Generator().manual_seed(0), []
    for _ in range(5):
        loss = loss_of(parameters | fixed, config, patches, images, keep, restore)
        optimizer.zero_grad()
        loss.backward()
        if nudged:
            for tensor in parameters.values():
                unit = tensor.grad.abs().max() * torch.finfo(torch.float32).eps
                sign = torch.randint(0, 2, tensor.shape, generator=generator) * 2 - 1
                tensor.grad += unit * sign
        optimizer.step()
        losses.append(loss.item())
    return {name: tensor.detach().double() for name, tensor in parameters.items()}, losses


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parity", type=Path, default=ROOT / "tests/parity/mae-32")
    folder = parser.parse_args().parity
    config = json.loads((folder / "config.json").read_text())
    files = {name: load_file(folder / f"{name}.safetensors") for name in ("checkpoint", "forward")}
    official = load_file(folder / "adamw_5_steps.safetensors")
    losses = official.pop("losses").tolist()
    gradients = load_file(folder / "gradients.safetensors")
    official = {name: tensor.double() for name, tensor in official.items() if not name.endswith("pos_embed")}

    small, keys = {}, {}
    for name, tensor in official.items():
        first = gradients[name].double().abs()
        small[name] = first < SMALL * first.max()
        keys[name] = torch.zeros_like(small[name])
        if name.endswith("qkv.bias"):
            third = tensor.numel() // 3
            keys[name][third : 2 * third] = True
    total = sum(t.numel() for t in official.values())
    print(f"{total} elements, {sum(int((small[n] & ~keys[n]).sum()) for n in small)} with a small first gradient, "
          f"{sum(int(k.sum()) for k in keys.values())} biases of keys")

    runs = {
        "f64": five_steps(files, config, torch.float64, False),
        "f32": five_steps(files, config, torch.float32, False),
        "f32, gradients moved by one unit": five_steps(files, config, torch.float32, True),
    }
    print(f"{'compared':<58} {'loss':>8}  {'beyond 1e-4':>11}  {'keys':>5} {'small':>5} {'others':>6}  {'largest':>8} {'of others':>9}")

    def compare(title: str, a: dict, b: dict, loss: float):
        beyond, of_keys, of_small, largest, of_others = 0, 0, 0, 0.0, 0.0
        for name in official:
            share = (a[name] - b[name]).abs() / official[name].abs().max()
            far = share > BOUND
            beyond += int(far.sum())
            of_keys += int((far & keys[name]).sum())
            of_small += int((far & small[name] & ~keys[name]).sum())
            others = share[~(small[name] | keys[name])]
            largest, of_others = max(largest, share.max().item()), max(of_others, others.max().item())
        print(f"{title:<58} {loss:8.1e}  {beyond:>11}  {of_keys:>5} {of_small:>5} {beyond - of_keys - of_small:>6}  "
              f"{largest:8.1e} {of_others:9.1e}")

    worst = lambda found, expected: max(abs(a - b) for a, b in zip(found, expected))
    for name, (parameters, found) in runs.items():
        compare(f"the official parameters with {name}", official, parameters, worst(losses, found))
    for name in list(runs)[1:]:
        compare(f"{name} with f64", runs[name][0], runs["f64"][0], worst(runs[name][1], runs["f64"][1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
