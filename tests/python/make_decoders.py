#!/usr/bin/env python3
"""Writes tests/parity/decoders.safetensors: what PyTorch computes with the two decoders.

    python tests/python/make_decoders.py

Two small models with random parameters, `self.` and `cross.`: in the first decoder all tokens attend to one another,
in the second the mask tokens to the visible ones. Both decode mask tokens for some of the removed patches alone. For
each the file holds parameters, prediction, loss and all gradients, computed in f64 and rounded to f32. Attention is
`torch.nn.functional.multi_head_attention_forward`.
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

OUT = Path(__file__).resolve().parents[1] / "parity" / "decoders.safetensors"
IMAGES, PATCHES, VISIBLE, WANTED, VALUES = 3, 9, 4, 2, 4
DIM, HEADS, WIDTH, DECODER_HEADS, DECODER_DEPTH, RATIO = 12, 3, 8, 2, 2, 2
EPS = 1e-6

Tensors = dict[str, torch.Tensor]


def parameters(cross: bool, random: torch.Generator) -> Tensors:
    """Random parameters that f32 can hold, by name."""
    shapes = {"cls_token": (1, 1, DIM), "pos_embed": (1, 1 + PATCHES, DIM), "patch_embed.proj.weight": (DIM, 1, 2, 2)}
    shapes["patch_embed.proj.bias"] = (DIM,)

    def norm(name: str, width: int) -> None:
        shapes.update({f"{name}.weight": (width,), f"{name}.bias": (width,)})

    def linear(name: str, inputs: int, outputs: int) -> None:
        shapes.update({f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)})

    def block(name: str, width: int, cross: bool) -> None:
        for layer in ("norm1", "norm2"):
            norm(f"{name}.{layer}", width)
        if cross:
            linear(f"{name}.attn.q", width, width)
            linear(f"{name}.attn.kv", width, 2 * width)
        else:
            linear(f"{name}.attn.qkv", width, 3 * width)
        linear(f"{name}.attn.proj", width, width)
        linear(f"{name}.mlp.fc1", width, RATIO * width)
        linear(f"{name}.mlp.fc2", RATIO * width, width)

    block("blocks.0", DIM, False)
    norm("norm", DIM)
    linear("decoder_embed", DIM, WIDTH)
    if cross:
        norm("decoder_embed_norm", WIDTH)
    shapes.update({"mask_token": (1, 1, WIDTH), "decoder_pos_embed": (1, 1 + PATCHES, WIDTH)})
    for index in range(DECODER_DEPTH):
        block(f"decoder_blocks.{index}", WIDTH, cross)
    norm("decoder_norm", WIDTH)
    linear("decoder_pred", WIDTH, VALUES)

    def value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        drawn = 0.5 * torch.randn(shape, generator=random)
        is_scale = "norm" in name and name.endswith("weight")
        return (drawn + 1 if is_scale else drawn).float().double()

    return {name: value(name, shape) for name, shape in shapes.items()}


def norm(p: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], EPS)


def linear(p: Tensors, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def block(p: Tensors, name: str, x: torch.Tensor, context: torch.Tensor | None, heads: int) -> torch.Tensor:
    """`x`: [B, N, width]; without `context` the tokens attend to one another."""
    inner = norm(p, f"{name}.norm1", x)
    if context is None:
        weight, bias, context = p[f"{name}.attn.qkv.weight"], p[f"{name}.attn.qkv.bias"], inner
    else:
        weight, bias = (torch.cat([p[f"{name}.attn.{part}.{kind}"] for part in ("q", "kv")])
                        for kind in ("weight", "bias"))
    query, key = inner.transpose(0, 1), context.transpose(0, 1)
    attended, _ = F.multi_head_attention_forward(
        query, key, key, x.shape[-1], heads, weight, bias, None, None, False, 0.0,
        p[f"{name}.attn.proj.weight"], p[f"{name}.attn.proj.bias"], need_weights=False)
    x = x + attended.transpose(0, 1)
    hidden = F.gelu(linear(p, f"{name}.mlp.fc1", norm(p, f"{name}.norm2", x)))
    return x + linear(p, f"{name}.mlp.fc2", hidden)


def predict(p: Tensors, cross: bool, patches: torch.Tensor, keep: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """`patches`: [B, L, P]; `keep`: [B, V]; `wanted`: [B, K]. Returns [B, K, P]."""
    def pick(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.stack([rows[one] for rows, one in zip(table.expand(IMAGES, -1, -1), ids)])

    x = F.linear(pick(patches, keep), p["patch_embed.proj.weight"].flatten(1), p["patch_embed.proj.bias"])
    x = torch.cat([p["cls_token"].expand(IMAGES, -1, -1), x], 1)
    places = torch.cat([torch.zeros(IMAGES, 1, dtype=torch.long), 1 + keep], 1)
    x = block(p, "blocks.0", x + pick(p["pos_embed"], places), None, HEADS)
    x = linear(p, "decoder_embed", norm(p, "norm", x)) + pick(p["decoder_pos_embed"], places)
    queries = p["mask_token"] + pick(p["decoder_pos_embed"], 1 + wanted)
    context = norm(p, "decoder_embed_norm", x) if cross else None
    x = queries if cross else torch.cat([x, queries], 1)
    for index in range(DECODER_DEPTH):
        x = block(p, f"decoder_blocks.{index}", x, context, DECODER_HEADS)
    x = x if cross else x[:, 1 + VISIBLE:]
    return linear(p, "decoder_pred", norm(p, "decoder_norm", x))


def main() -> None:
    random = torch.Generator().manual_seed(16)
    patches = torch.randn(IMAGES, PATCHES, VALUES, generator=random).float().double()
    target = torch.randn(IMAGES, WANTED, VALUES, generator=random).float().double()
    noise = torch.rand(IMAGES, PATCHES, generator=random)
    order = noise.argsort(1)
    keep, wanted = order[:, :VISIBLE], order[:, VISIBLE:][:, [3, 1]]
    found = {"patches": patches, "target": target, "noise": noise, "wanted": wanted.float()}
    for cross in (False, True):
        named = parameters(cross, random)
        tables = ("pos_embed", "decoder_pos_embed")
        leaves = {name: value.requires_grad_(name not in tables) for name, value in named.items()}
        pred = predict(leaves, cross, patches, keep, wanted)
        loss = ((pred - target) ** 2).mean()
        loss.backward()
        prefix = "cross." if cross else "self."
        found |= {prefix + "pred": pred, prefix + "loss": loss.reshape(1)}
        found |= {f"{prefix}model.{name}": value for name, value in leaves.items()}
        found |= {f"{prefix}gradient.{name}": value.grad for name, value in leaves.items() if name not in tables}
    save_file({name: value.detach().float().contiguous() for name, value in found.items()}, OUT)
    print(f"{OUT}: {OUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
