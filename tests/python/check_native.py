"""Reads encoder.native by docs/models.md alone and compares it with encoder.onnx: check_native.py MODEL_FOLDER."""

import hashlib
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

folder = Path(sys.argv[1])
file = (folder / "encoder.native").read_bytes()
assert file[:8] == b"MAENATV1", file[:8]
header_bytes, crc = struct.unpack("<II", file[8:16])
header = file[16 : 16 + header_bytes]
assert zlib.crc32(header) == crc
start = -(-(16 + header_bytes) // 64) * 64
assert not any(file[16 + header_bytes : start])
data = file[start:]

at = 0


def take(count: int) -> bytes:
    global at
    at += count
    return header[at - count : at]


def varint() -> int:
    value = shift = 0
    while True:
        (byte,) = take(1)
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value


def floats(count: int) -> tuple:
    return struct.unpack(f"<{count}f", take(4 * count))


height, width, channels, p, dim, depth, heads = (varint() for _ in range(7))
mlp_ratio, norm_eps = floats(2)
position, pooling, feature_dim = varint(), varint(), varint()
mean, std = np.array(floats(4)), np.array(floats(4))
model_hash = take(8)
data_bytes, sha256, tensors = varint(), take(32), varint()
assert (data_bytes, tensors) == (len(data), 6 + 16 * depth)
assert hashlib.sha256(data).digest() == sha256
assert model_hash.hex() in (folder / "model.toml").read_text()
places = {}
for _ in range(tensors):
    kind, block, offset, length = varint(), varint(), varint(), varint()
    assert offset % 64 == 0
    places[kind, block] = data[offset : offset + length]
assert at == len(header)


def f32(kind: int, block: int = 0) -> np.ndarray:
    return np.frombuffer(places[kind, block], "<f4")


def matrix(kind: int, outputs: int, inputs: int, block: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The matrix and the step of each row."""
    tiles = np.frombuffer(places[kind, block], np.int8)
    n, k = np.arange(outputs)[:, None], np.arange(inputs)[None]
    steps = -(-inputs // 4) * 4
    values = tiles[n // 16 * 16 * steps + k // 4 * 64 + n % 16 * 4 + k % 4]
    assert values.min() >= -127
    scale = f32(kind + 1, block)[:outputs, None]
    return values * scale, scale


weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(folder / "encoder.onnx").graph.initializer}
mlp = int(dim * mlp_ratio)
for block in range(depth):
    name = f"blocks.{block}."
    for kind, part in [(4, "norm1"), (12, "norm2")]:
        assert np.array_equal(f32(kind, block), weights[f"{name}{part}.weight"])
        assert np.array_equal(f32(kind + 1, block), weights[f"{name}{part}.bias"])
    linears = [(6, "attn.qkv", 3 * dim, dim), (9, "attn.proj", dim, dim), (14, "mlp.fc1", mlp, dim), (17, "mlp.fc2", dim, mlp)]
    for kind, part, outputs, inputs in linears:
        found, step = matrix(kind, outputs, inputs, block)
        assert np.all(np.abs(found - weights[f"{name}{part}.weight"].T) <= 0.5001 * step)
        assert np.array_equal(f32(kind + 2, block)[:outputs], weights[f"{name}{part}.bias"])
assert np.array_equal(f32(20), weights["norm.weight"]) and np.array_equal(f32(21), weights["norm.bias"])
assert np.array_equal(f32(3), weights["cls_token"].reshape(-1))

# The patch projection: pixels less 128 on one side, normalised pixels on the other. A smooth patch.
values = p * p * channels
embed, step = matrix(0, dim, values)
pixels = np.round(120 + 60 * np.sin(np.arange(p)[:, None, None] / 5 + np.arange(p)[None, :, None] / 7 + np.arange(channels)))
normalised = (pixels / 255 - mean[:channels]) / std[:channels]
found = embed @ (pixels.reshape(-1) - 128) + f32(2).reshape(-1, dim)
expected = normalised.reshape(-1) @ weights["patch_embed.proj.weight"] + weights["patch_embed.proj.bias"]
expected = expected + weights["pos_embed"].reshape(-1, dim)
error = np.abs(found - expected).max()
# Independent roundings would leave step / sqrt(12) times the root of the sum of squares.
independent = step.max() / 12**0.5 * np.sqrt(np.sum((pixels - 128) ** 2))
assert error < independent, (error, independent)
print(f"encoder.native agrees: {len(places)} tensors, largest error of an embedding {error:.2e}")
