"""Makes tests/golden/muon.json: matrices after three steps of Muon in double precision.

usage: make_muon.py > tests/golden/muon.json
Written from the description at https://kellerjordan.github.io/posts/muon/ with the step's length of arXiv 2502.16982.
Weights and gradients are not stored: `scattered` makes them, as the test does.
"""

import json

import numpy as np

LR, DECAY, MOMENTUM = 0.05, 0.1, 0.95
A, B, C = 3.4445, -4.775, 2.0315


def scattered(count, number):
    i = np.arange(count)
    return ((i * i * 7 + i * 13 + number * 29 + 5) % 101) / 64 - 0.78125


def orthogonal(matrix):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(5):
        s = A * s + B * s**3 + C * s**5
    return u @ np.diag(s) @ v


def step(weight, update):
    return weight * (1 - LR * DECAY) - LR * 0.2 * max(weight.shape) ** 0.5 * orthogonal(update)


cases = {}
for name, shape, parts in [
    ("blocks.0.mlp.fc1.weight", (4, 6), 1),
    ("blocks.0.mlp.fc2.weight", (6, 4), 1),
    ("blocks.0.attn.qkv.weight", (4, 12), 3),
    ("decoder_blocks.1.attn.kv.weight", (3, 6), 2),
]:
    count = shape[0] * shape[1]
    weight, momentum = scattered(count, 0).reshape(shape), np.zeros(shape)
    for number in 1, 2, 3:
        gradient = scattered(count, number).reshape(shape)
        momentum = MOMENTUM * momentum + gradient
        pairs = zip(np.split(weight, parts, 1), np.split(gradient + MOMENTUM * momentum, parts, 1))
        weight = np.concatenate([step(*pair) for pair in pairs], 1)
    lists = {"weight": weight, "momentum": momentum}
    lists = {key: [round(value, 7) for value in matrix.ravel().tolist()] for key, matrix in lists.items()}
    cases[name] = {"shape": shape, "lr": LR, "decay": DECAY, **lists}
print("{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items()) + "\n}")
