"""Writes PyTorch files of every container and under many names, for tests/tests/archives_python.rs.

usage: make_archives.py FOLDER
Each file holds `patch_embed.proj.weight`, the numbers 0 to 11 as [1, 3, 2, 2], somewhere.
"""

import json
import sys
import warnings
from pathlib import Path

import torch

warnings.simplefilter("ignore")
NAME = "patch_embed.proj.weight"
folder = Path(sys.argv[1])
weight = torch.arange(12, dtype=torch.float32).reshape(1, 3, 2, 2)
checkpoint = {"model": {NAME: weight}}


def make(name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


for length in [*range(1, 100), 150, 200]:
    torch.save(checkpoint, make("names/" + "n" * length + ".pth"))
for name in ["mae_pretrain_vit_base", "Gewichte-für-später-1", "模型模型模型模型模型模", "with spaces and (brackets)", "a.b.c"]:
    torch.save(checkpoint, make(f"names/{name}.pth"))
    torch.save(checkpoint, make(f"names/{name}"))
torch.serialization.set_crc32_options(False)
torch.save(checkpoint, make("protocols/without-checksums.pth"))
torch.serialization.set_crc32_options(True)
for protocol in [2, 3, 4, 5]:
    torch.save(checkpoint, make(f"protocols/zip-{protocol}.pth"), pickle_protocol=protocol)
    legacy = {"_use_new_zipfile_serialization": False, "pickle_protocol": protocol}
    torch.save(checkpoint, make(f"protocols/legacy-{protocol}.pth"), **legacy)
torch.save(checkpoint, make("protocols/legacy.pth.tar"), _use_new_zipfile_serialization=False)


class Embedding(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = torch.nn.Conv2d(3, 1, 2)
        self.proj.weight = torch.nn.Parameter(weight.clone())
        self.register_buffer("cache", torch.zeros(5), persistent=False)

    def forward(self, images):
        return self.proj(images)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Embedding()

    def forward(self, images):
        return self.patch_embed(images)


model = Model()
torch.save(model, make("modules/whole.pth"))
torch.save(model, make("modules/whole-legacy.pth"), _use_new_zipfile_serialization=False)
torch.save({"epoch": 1, "net": model}, make("modules/inner.pth"))
torch.save(torch.nn.DataParallel(model), make("modules/parallel.pth"))
torch.jit.save(torch.jit.script(model), make("modules/script.pt"))
torch.jit.save(torch.jit.trace(model, torch.zeros(1, 3, 4, 4)), make("modules/traced.pt"))

# A teacher that is its student still: one object under two keys.
same = {NAME: weight}
torch.save({"teacher": same, "student": same}, make("same.pth"))

# Parts as transformers 4 wrote them.
parts = {NAME: "pytorch_model-00001-of-00002.bin", "norm.weight": "pytorch_model-00002-of-00002.bin"}
make("parts/x")
torch.save({NAME: weight}, folder / "parts" / parts[NAME])
torch.save({"norm.weight": torch.ones(2)}, folder / "parts" / parts["norm.weight"])
index = {"metadata": {"total_size": 56}, "weight_map": parts}
(folder / "parts" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
