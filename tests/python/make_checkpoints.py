"""Writes the small PyTorch files in tests/checkpoints, which the tests of host::formats::pth read.

usage: make_checkpoints.py FOLDER
"""

import argparse
import sys
from collections import OrderedDict
from pathlib import Path

import torch

folder = Path(sys.argv[1])
numbers = torch.arange(12, dtype=torch.float32).reshape(3, 4) / 4
model = OrderedDict(
    dense=numbers,
    transposed=numbers.T,
    column=numbers[:, 1],
    tail=numbers.reshape(-1)[8:],
    scalar=torch.tensor(1.5),
    empty=torch.zeros(0, 3),
    half=(numbers[0] + 0.1).half(),
    bfloat=(numbers[0] + 0.1).bfloat16(),
    double=(numbers[0] + 0.1).double(),
    long=torch.tensor([-3, 1 << 40]),
    bytes=torch.tensor([0, 255], dtype=torch.uint8),
    flags=torch.tensor([True, False]),
    parameter=torch.nn.Parameter(numbers[2]),
)
args = argparse.Namespace(
    model="mae_vit_base_patch16", norm_pix_loss=True, blr=1.5e-4, lr=None, betas=(0.9, 0.95), output=Path("out")
)
torch.save({"model": model, "args": args, "epoch": 3}, folder / "odd.pth")
torch.save({"model": model, "args": args}, folder / "odd-protocol-5.pth", pickle_protocol=5)
torch.save(dict(model), folder / "bare.pth")
torch.save({"model": model, "args": args}, folder / "legacy.pth", _use_new_zipfile_serialization=False)
