"""The numbers of tests/golden/joint.safetensors: the joint terms, the projector and their gradients in PyTorch, written
from the papers (InfoNCE as NT-Xent, arXiv 2002.05709; SIGReg, arXiv 2511.08544) and independently of the Rust code.

    python tests/python/make_joint.py tests/golden/joint.safetensors      # torch 2.15.0
"""

import sys

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(16)
found = {}


def keep(name: str, tensor: torch.Tensor) -> None:
    found[name] = tensor.detach().float().contiguous()


def infonce(z: torch.Tensor, temperature: float) -> torch.Tensor:
    """One cross-entropy for each ordered pair of views: the pair's partner among it and all views of other images."""
    views, batch, _ = z.shape
    z = F.normalize(z, dim=2)
    losses = []
    for a in range(views):
        for b in range(views):
            if a == b:
                continue
            for i in range(batch):
                others = [j for j in range(batch) if j != i]
                candidates = torch.cat([z[b, i : i + 1], z[:, others].reshape(-1, z.shape[2])])
                scores = candidates @ z[a, i] / temperature
                losses.append(F.cross_entropy(scores[None], torch.tensor([0])))
    return torch.stack(losses).mean()


def sigreg(z: torch.Tensor, directions: torch.Tensor, share: float) -> torch.Tensor:
    views, batch, _ = z.shape
    distance = ((z - z.mean(0, keepdim=True)) ** 2).mean()
    t = torch.linspace(-3, 3, 33, dtype=z.dtype)
    gaussian = torch.exp(-(t**2) / 2)
    statistics = []
    for view in z:
        for direction in directions.T:
            x = view @ direction
            phi = torch.exp(1j * x[:, None] * t).mean(0)
            statistics.append(batch * torch.trapezoid((phi - gaussian).abs() ** 2 * gaussian, t))
    return (1 - share) * distance + share * torch.stack(statistics).mean()


class Projector(nn.Module):
    def __init__(self, dim: int, hidden: int, out: int):
        super().__init__()
        self.fc = nn.Linear(dim, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.norm(self.fc(x))))


def losses(name: str, z: torch.Tensor, directions: torch.Tensor) -> None:
    keep(f"{name}.z", z)
    for kind, loss in (("infonce", lambda z: infonce(z, 0.2)), ("sigreg", lambda z: sigreg(z, directions, 0.05))):
        leaf = z.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        keep(f"{name}.{kind}", value.reshape(1))
        keep(f"{name}.{kind}.grad", leaf.grad)


directions = F.normalize(torch.randn(5, 7, dtype=torch.double), dim=0)
keep("directions", directions)
for views in (2, 3):
    losses(f"views{views}", torch.randn(views, 6, 5, dtype=torch.double) * 1.5 + 0.3, directions)

projector = Projector(4, 8, 5).double()
with torch.no_grad():
    projector.norm.weight.uniform_(0.5, 1.5)
    projector.norm.bias.uniform_(-0.5, 0.5)
features = torch.randn(2, 6, 4, dtype=torch.double)
keep("features", features.reshape(12, 4))
leaf = features.clone().requires_grad_()
z = torch.stack([projector(view) for view in leaf])
loss = infonce(z, 0.2)
loss.backward()
keep("projections", z.reshape(12, 5))
keep("loss", loss.reshape(1))
keep("features.grad", leaf.grad.reshape(12, 4))
names = {"fc.weight": "hidden.0.fc.weight", "norm.weight": "hidden.0.scale", "norm.bias": "hidden.0.fc.bias"}
for name, value in projector.named_parameters():
    keep(f"projector.{names.get(name, name)}", value)
    keep(f"projector.{names.get(name, name)}.grad", value.grad)
save_file(found, sys.argv[1])
