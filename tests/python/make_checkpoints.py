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

# Under this name the archive's first header lies where a reader that searches for it looks in vain.
torch.save({"model": model, "args": args}, folder / "mae_pretrain_vit_base.pth")

# Several models in one file; an optimizer's tensors are none.
embedding = {"patch_embed.proj.weight": numbers}
averages = {"decay": 0.99, "state_dict": {"module." + name: value + 2 for name, value in embedding.items()}}
state = {0: {"step": torch.tensor(3.0), "exp_avg": numbers}}
optimizer = {"state": state, "param_groups": [{"lr": 1e-3, "params": [0]}]}
hyper = {"model": {"num_heads": 3, "img_size": (32, 64)}, "classes": ["a", "b"]}
groups = {
    "optimizer": optimizer,
    "teacher": {name: value + 1 for name, value in embedding.items()},
    "model_ema": averages,
    "model": embedding,
    "hyper_parameters": hyper,
    "epoch": 3,
}
torch.save(groups, folder / "groups.pth")

# Types that are read, and those that are not.
kinds = {
    "uint16": torch.tensor([1, 65535], dtype=torch.uint16),
    "uint32": torch.tensor([1, 1 << 31], dtype=torch.uint32),
    "uint64": torch.tensor([1, 1 << 40], dtype=torch.uint64),
    "int8": torch.tensor([-128, 127], dtype=torch.int8),
    "e5m2": torch.tensor([1.25, -57344.0]).to(torch.float8_e5m2),
    "e4m3": torch.tensor([1.375, -448.0]).to(torch.float8_e4m3fn),
    "fnuz": torch.zeros(2).to(torch.float8_e4m3fnuz),
    "complex": torch.zeros(2, dtype=torch.complex64),
    "sparse": torch.eye(2).to_sparse(),
    "meta": torch.zeros(2, device="meta"),
}
torch.save(kinds, folder / "kinds.pth")
kept = {name: kinds[name] for name in ("int8", "complex")}
torch.save(kept, folder / "kinds-legacy.pth", _use_new_zipfile_serialization=False)


class Part(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(2)
        self.register_buffer("table", numbers[0])
        self.register_buffer("cache", numbers[1], persistent=False)


# A whole module, which only this script could load again.
whole = torch.nn.Sequential(torch.nn.Linear(2, 2), Part())
with torch.no_grad():
    for index, parameter in enumerate(whole.parameters()):
        parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + index)
torch.save({"net": whole, "epoch": 1}, folder / "module.pth")
