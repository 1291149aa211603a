"""The rival of `host pretrain` and `host evaluate` in quality: the same recipe in PyTorch on the same files.

The model is ViTMAEForPreTraining of `transformers`; everything else is written here from the paper (arXiv 2111.06377,
appendix A) with torchvision's and timm's transforms. A preset's joint-embedding term, colours and Muon are there, too;
its cheaper decoder is not: the reference predicts all removed patches with the paper's decoder.

    python bench/quality.py pretrain --preset pico-32 --epochs 10 --data train --out ref [--recipe paper]
    python bench/quality.py evaluate --model ref --train train --test test
    python bench/quality.py finetune --model ref --train train --test test --epochs 3

`pretrain` writes a Hugging Face folder (config.json, model.safetensors), which `host import --checkpoint` reads; the other
two also read what `host export --format huggingface` writes, so that each side can judge the other's encoder.
"""

import argparse
import json
import math
import os
import sys
import time
import tomllib
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent / "models"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def misuse(message: str):
    print(f"quality.py: {message}", file=sys.stderr)
    sys.exit(2)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    common.add_argument("--seed", type=int, default=0)
    common.add_argument("--json", action="store_true")

    pretrain = commands.add_parser("pretrain", parents=[common], help="pre-train, write a Hugging Face folder")
    pretrain.add_argument("--preset", default="pico-32", help="a preset of models/, or a file")
    pretrain.add_argument("--data", type=Path, required=True, help="folder of images")
    pretrain.add_argument("--out", type=Path, required=True, help="folder to write")
    pretrain.add_argument("--epochs", type=int)
    pretrain.add_argument("--warmup-epochs", type=float, help="[default: the preset's, at most a tenth of the epochs]")
    pretrain.add_argument("--batch-size", type=int)
    pretrain.add_argument("--recipe", choices=["default", "paper"], default="default")

    evaluate = commands.add_parser("evaluate", parents=[common], help="kNN and linear probes on frozen features")
    finetune = commands.add_parser("finetune", parents=[common], help="fine-tune the whole encoder")
    for command in (evaluate, finetune):
        command.add_argument("--model", type=Path, required=True, help="a Hugging Face folder")
        command.add_argument("--train", type=Path, required=True, help="images, one folder a class")
        command.add_argument("--test", type=Path, required=True, help="images, one folder a class")
        command.add_argument("--pool", choices=["mean", "cls"], default="mean")
    evaluate.add_argument("--k", type=int, default=20)
    evaluate.add_argument("--temperature", type=float, default=0.07)
    evaluate.add_argument("--epochs", type=int, default=90, help="of the LARS probe")
    evaluate.add_argument("--batch-size", type=int, default=4096, help="of the LARS probe")
    finetune.add_argument("--epochs", type=int, default=3)
    finetune.add_argument("--batch-size", type=int, default=128)
    finetune.add_argument("--blr", type=float, default=1e-3)
    finetune.add_argument("--warmup-epochs", type=float, default=0.3)
    finetune.add_argument("--weight-decay", type=float, default=0.05)
    finetune.add_argument("--layer-decay", type=float, default=0.75)
    finetune.add_argument("--drop-path", type=float, default=0.1)
    finetune.add_argument("--label-smoothing", type=float, default=0.1)
    finetune.add_argument("--mixup", type=float, default=0.8)
    finetune.add_argument("--cutmix", type=float, default=1.0)
    finetune.add_argument("--rand-augment", default="rand-m9-mstd0.5-inc1", help="`off` for none")
    finetune.add_argument("--random-erasing", type=float, default=0.25)
    finetune.add_argument("--from-scratch", action="store_true", help="the same training from random weights")
    return parser.parse_args()


args = arguments()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)
os.environ["HF_HUB_OFFLINE"] = "1"
try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torch import Tensor, nn
    from torchvision.transforms import v2 as transforms
    from transformers import ViTMAEConfig, ViTMAEForPreTraining
except ImportError as error:
    misuse(f"{sys.executable} lacks a package ({error}): pip install -r bench/requirements.txt")

# ---- images

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


class Images:
    """All images of a folder, decoded; classes are the first level of sub-folders."""

    def __init__(self, root: Path):
        files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
        if not files:
            misuse(f"{root} holds no images")
        self.images = [Image.open(p).convert("RGB") for p in files]
        for image in self.images:
            image.load()
        names = [p.relative_to(root).parts[0] for p in files]
        self.classes = sorted(set(names))
        self.labels = torch.tensor([self.classes.index(name) for name in names])

    def __len__(self) -> int:
        return len(self.images)


def to_tensor(image: Image.Image) -> Tensor:
    """u8 [C, H, W]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def normalize(batch: Tensor) -> Tensor:
    """u8 [B, C, H, W] to f32."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (batch.float() / 255 - mean) / std


def whole(images: Images, side: int) -> Tensor:
    """Every image at the model's size, f32 [N, C, H, W]."""
    resized = [im if im.size == (side, side) else im.resize((side, side), Image.BICUBIC) for im in images.images]
    return normalize(torch.stack([to_tensor(im) for im in resized]))


def cosine(epoch: float, lr: float, warmup: float, epochs: float, min_lr: float = 0.0) -> float:
    """Linear warm-up, half a cosine; set at every step."""
    if epoch < warmup:
        return lr * epoch / warmup
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


# ---- pre-training


def new_model(c: dict, mask_ratio: float) -> ViTMAEForPreTraining:
    ratio = c.get("mlp_ratio", 4.0)
    config = ViTMAEConfig(
        hidden_size=c["dim"],
        num_hidden_layers=c["depth"],
        num_attention_heads=c["heads"],
        intermediate_size=int(c["dim"] * ratio),
        image_size=c["image_height"],
        patch_size=c["patch_size"],
        layer_norm_eps=1e-6,
        decoder_hidden_size=c["decoder_dim"],
        decoder_num_hidden_layers=c["decoder_depth"],
        decoder_num_attention_heads=c["decoder_heads"],
        decoder_intermediate_size=int(c["decoder_dim"] * ratio),
        mask_ratio=mask_ratio,
        norm_pix_loss=c.get("norm_pix_loss", True),
    )
    model = ViTMAEForPreTraining(config)
    # The paper's initialisation (appendix A.1), where this library's differs.
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            fan_out, fan_in = module.weight.shape
            # Queries, keys and values are one matrix there.
            fan_out *= 3 if name.endswith(("q_proj", "k_proj", "v_proj", "query", "key", "value")) else 1
            bound = math.sqrt(6 / (fan_in + fan_out))
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight.data.view(module.weight.shape[0], -1))
            bound = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.bias, -bound, bound)
    nn.init.normal_(model.vit.embeddings.cls_token, std=0.02)
    nn.init.normal_(model.decoder.mask_token, std=0.02)
    # transformers 5.24 leaves both tables zero in a model that is made from a configuration.
    for table in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        table.data.copy_(positions(c["image_height"] // c["patch_size"], table.shape[-1]))
    return model


def positions(side: int, dim: int) -> Tensor:
    """The 2-D sine-cosine table [1, 1 + side * side, dim]: zeros for the class token; then column, then row."""
    omega = 10000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim / 4))
    angles = torch.arange(side, dtype=torch.float64).view(-1, 1) * omega
    half = torch.cat([angles.sin(), angles.cos()], 1)
    table = torch.cat([half.repeat(side, 1), half.repeat_interleave(side, 0)], 1)
    return torch.cat([torch.zeros(1, dim), table.float()]).unsqueeze(0)


def in_block(name: str) -> bool:
    """Of a block, encoder's or decoder's: what Muon takes the matrices of."""
    return ".encoder.layer." in name or ".decoder_layers." in name


def groups(model: nn.Module, weight_decay: float, without: list[nn.Parameter] = ()) -> list[dict]:
    others = {id(parameter) for parameter in without}
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad and id(p) not in others]
    plain = [p for n, p in named if p.ndim <= 1 or n.endswith(".bias")]
    decayed = [p for n, p in named if p.ndim > 1 and not n.endswith(".bias")]
    return [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]


def training_view(side: int, t: dict) -> transforms.Compose:
    """Crop and flip; then what the recipe changes in the colours."""
    colour = {"jitter": 0.0, "grey": 0.0, "blur": 0.0, "solarise": 0.0, **t.get("colour", {})}
    area = t.get("colour", {}).get("crop_area", 0.2)
    steps = [
        transforms.RandomResizedCrop(side, scale=(area, 1.0), interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.RandomHorizontalFlip(),
    ]
    if strength := colour["jitter"]:
        change = transforms.ColorJitter(0.4 * strength, 0.4 * strength, 0.4 * strength, 0.1 * strength)
        steps.append(transforms.RandomApply([change], 0.8))
    steps += [transforms.RandomGrayscale(colour["grey"])] if colour["grey"] else []
    steps += [transforms.RandomSolarize(128, colour["solarise"])] if colour["solarise"] else []
    if colour["blur"]:
        misuse("a recipe with blur has no reference here")
    return transforms.Compose(steps)


def projector(dim: int, terms: dict) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(terms["projector_depth"]):
        layers += [nn.Linear(dim, terms["projector_hidden"], bias=False), nn.BatchNorm1d(terms["projector_hidden"])]
        layers.append(nn.ReLU())
        dim = terms["projector_hidden"]
    layers.append(nn.Linear(dim, terms["projector_dim"]))
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def joint_loss(model: ViTMAEForPreTraining, project: nn.Module, views: list[Tensor], terms: dict) -> Tensor:
    """The reconstruction of the first view, and the joint term of the projections of all views' visible patches."""
    projections, loss = [], 0.0
    first = model.config.mask_ratio
    for number, pixels in enumerate(views):
        share = terms.get("view_keep") if number else None
        model.vit.embeddings.config.mask_ratio = first if share is None else 1 - share
        found = model.vit(pixel_values=pixels)
        if number == 0 and terms["reconstruction_weight"]:
            predicted = model.decoder(found.last_hidden_state, found.ids_restore).logits
            target = model.patchify(pixels)
            if model.config.norm_pix_loss:
                var, mean = torch.var_mean(target, -1, keepdim=True)
                target = (target - mean) / (var + 1e-6).sqrt()
            error = ((predicted - target) ** 2).mean(-1)
            loss = terms["reconstruction_weight"] * (error * found.mask).sum() / found.mask.sum()
        tokens = found.last_hidden_state
        projections.append(project(tokens[:, 1:].mean(1) if terms["pool"] == "mean" else tokens[:, 0]))
    model.vit.embeddings.config.mask_ratio = first
    z = torch.stack(projections)
    term = infonce(z, terms["temperature"]) if terms["kind"] == "infonce" else sigreg(z, terms)
    return loss + terms["weight"] * term


def infonce(z: Tensor, temperature: float) -> Tensor:
    """Each view against one other view of its image at a time, and all views of the other images."""
    views, batch, width = z.shape
    z = F.normalize(z, dim=2)
    flat = z.reshape(-1, width)
    scores = flat @ flat.T / temperature
    image = torch.arange(batch).repeat(views)
    negatives = scores.masked_fill(image[:, None] == image[None], -torch.inf).logsumexp(1)
    rows, loss = torch.arange(views * batch), 0.0
    for shift in range(1, views):
        positives = scores[rows, (rows + shift * batch) % (views * batch)]
        loss = loss + F.softplus(negatives - positives).mean()
    return loss / (views - 1)


def sigreg(z: Tensor, terms: dict) -> Tensor:
    """LeJEPA's: the distance of views from their mean, and Epps and Pulley's statistic along random directions."""
    batch, width = z.shape[1:]
    t = torch.linspace(-3, 3, 33)
    gaussian = (-t.square() / 2).exp()
    x = (z @ F.normalize(torch.randn(width, terms["slices"]), dim=0)).unsqueeze(-1) * t
    error = (x.cos().mean(1) - gaussian).square() + x.sin().mean(1).square()
    statistic = batch * torch.trapezoid(error * gaussian, t).mean()
    share = terms["sigreg_share"]
    return (1 - share) * (z.mean(0) - z).square().mean() + share * statistic


def pretrain() -> None:
    path = Path(args.preset) if args.preset.endswith(".toml") else MODELS / f"{args.preset}.toml"
    preset = tomllib.loads(path.read_text())
    c, t = preset["model"], preset["train"]
    if args.recipe == "paper":
        t = preset.get("paper", t)
    terms = {"kind": "none", "weight": 1.0, "reconstruction_weight": 1.0, "views": 2, "pool": "mean",
             "projector_hidden": 512, "projector_depth": 1, "projector_dim": 128, "temperature": 0.2,
             "sigreg_share": 0.05, "slices": 256, **t.get("joint", {})}
    joined = terms["kind"] != "none"
    epochs, batch = args.epochs or t["epochs"], args.batch_size or t["batch_size"]
    warmup = args.warmup_epochs
    if warmup is None:
        warmup = min(t["warmup_epochs"], epochs / 10) if args.epochs else t["warmup_epochs"]
    images = Images(args.data)
    model = new_model(c, t.get("mask_ratio", 0.75))
    lr = t.get("blr", 1.5e-4) * batch / 256
    project = projector(c["dim"], terms) if joined else None
    trained = nn.ModuleList([model, project] if joined else [model])
    decay, muon = t.get("weight_decay", 0.05), t.get("optimizer") == "muon"
    matrices = [p for name, p in trained.named_parameters() if muon and p.ndim == 2 and in_block(name)]
    optimizers = [torch.optim.AdamW(groups(trained, decay, matrices), lr=lr, betas=(0.9, 0.95), fused=True)]
    if muon:
        optimizers.append(torch.optim.Muon(matrices, lr=lr, weight_decay=decay, adjust_lr_fn="match_rms_adamw"))
    view = training_view(c["image_height"], t)
    steps, begin, history = len(images) // batch, time.perf_counter(), []
    for epoch in range(epochs):
        order, total = torch.randperm(len(images)), 0.0
        for i in range(steps):
            ids = order[i * batch : (i + 1) * batch].tolist()
            views = [
                normalize(torch.stack([to_tensor(view(images.images[j])) for j in ids]))
                for _ in range(terms["views"] if joined else 1)
            ]
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = cosine(epoch + i / steps, lr, warmup, epochs)
            loss = joint_loss(model, project, views, terms) if joined else model(pixel_values=views[0]).loss
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            total += loss.item()
        seconds = time.perf_counter() - begin
        history.append(total / steps)
        speed = (epoch + 1) * steps * batch / seconds
        print(f"epoch {epoch + 1}/{epochs}  loss {history[-1]:.4f}  {speed:.0f} img/s  {seconds:.0f} s", flush=True)
    model.save_pretrained(args.out)
    (args.out / "training.json").write_text(json.dumps({"losses": history, "seconds": time.perf_counter() - begin}))
    print(f"written  {args.out}")


# ---- frozen features


def load_model() -> ViTMAEForPreTraining:
    if not (args.model / "config.json").exists():
        misuse(f"{args.model} is no Hugging Face folder: it has no config.json")
    return ViTMAEForPreTraining.from_pretrained(args.model)


def tokens(vit: nn.Module, pixels: Tensor, drop_path: list[float] | None = None) -> Tensor:
    """All patches, in order, before the final norm, [B, 1 + L, D]."""
    e = vit.embeddings
    x = e.patch_embeddings(pixels) + e.position_embeddings[:, 1:]
    cls = e.cls_token + e.position_embeddings[:, :1]
    x = torch.cat([cls.expand(len(x), -1, -1), x], 1)
    layers = vit.layers if hasattr(vit, "layers") else vit.encoder.layer
    for number, layer in enumerate(layers):
        rate = drop_path[number] if drop_path and vit.training else 0.0
        y = layer(x)
        y = y[0] if isinstance(y, tuple) else y
        if rate:
            # Per image. A whole block at a time: this library's block adds both its branches itself.
            keep = (torch.rand(len(x), 1, 1) >= rate).float() / (1 - rate)
            y = x + (y - x) * keep
        x = y
    return x


@torch.no_grad()
def features(model: ViTMAEForPreTraining, pixels: Tensor) -> Tensor:
    rows = []
    for batch in pixels.split(256):
        x = model.vit.layernorm(tokens(model.vit, batch))
        rows.append(x[:, 1:].mean(1) if args.pool == "mean" else x[:, 0])
    return torch.cat(rows)


def knn(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, classes: int) -> float:
    bank, right = F.normalize(train, dim=1).T, 0
    for rows, labels in zip(F.normalize(test, dim=1).split(256), test_labels.split(256)):
        near, ids = (rows @ bank).topk(args.k, 1)
        votes = torch.zeros(len(rows), classes)
        votes.scatter_add_(1, train_labels[ids], ((near - 1) / args.temperature).exp())
        right += (votes.argmax(1) == labels).sum().item()
    return right / len(test)


def ridge(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, classes: int) -> float:
    """Least squares to one-hot targets; the penalty is chosen on a tenth of the training images."""
    mean, std = train.mean(0), train.std(0)

    def prepare(x: Tensor) -> Tensor:
        x = ((x - mean) / std).double()
        return torch.cat([x, torch.ones(len(x), 1, dtype=torch.double)], 1)

    train, test = prepare(train), prepare(test)
    targets = F.one_hot(train_labels, classes).double()
    order = torch.randperm(len(train))
    held, rest = order[: len(train) // 10], order[len(train) // 10 :]

    def solve(x: Tensor, y: Tensor, penalty: float) -> Tensor:
        return torch.linalg.solve(x.T @ x + penalty * len(x) * torch.eye(x.shape[1], dtype=torch.double), x.T @ y)

    def accuracy(x: Tensor, labels: Tensor, w: Tensor) -> float:
        return ((x @ w).argmax(1) == labels).double().mean().item()

    penalties = [10.0**e for e in range(-7, 1)]
    best = max(penalties, key=lambda p: accuracy(train[held], train_labels[held], solve(train[rest], targets[rest], p)))
    return accuracy(test, test_labels, solve(train, targets, best))


def lars(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor, classes: int) -> float:
    """The paper's probe (table 10): BatchNorm without affine, a Linear, LARS with momentum 0.9, no weight decay."""
    norm = nn.BatchNorm1d(train.shape[1], affine=False, eps=1e-6)
    head = nn.Linear(train.shape[1], classes)
    nn.init.trunc_normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    batch = min(args.batch_size, len(train))
    lr, steps, momenta = 0.1 * batch / 256, len(train) // batch, {}
    for epoch in range(args.epochs):
        order = torch.randperm(len(train))
        for i in range(steps):
            ids = order[i * batch : (i + 1) * batch]
            loss = F.cross_entropy(head(norm(train[ids])), train_labels[ids])
            grads = torch.autograd.grad(loss, [head.weight, head.bias])
            rate = cosine(epoch + i / steps, lr, 10, args.epochs)
            with torch.no_grad():
                for p, g in zip((head.weight, head.bias), grads):
                    if p.ndim > 1 and p.norm() > 0 and g.norm() > 0:
                        g = g * (0.001 * p.norm() / g.norm())
                    momenta[p] = 0.9 * momenta.get(p, 0) + g
                    p -= rate * momenta[p]
    norm.eval()
    with torch.no_grad():
        return (head(norm(test)).argmax(1) == test_labels).double().mean().item()


def evaluate() -> None:
    model = load_model()
    model.eval()
    side = model.config.image_size
    sets = []
    for folder in (args.train, args.test):
        images = Images(folder)
        sets += [features(model, whole(images, side)), images.labels]
        classes = len(images.classes)
    result = {}
    for name, judge in (("knn", knn), ("linear closed", ridge), ("linear lars", lars)):
        torch.manual_seed(args.seed)
        begin = time.perf_counter()
        result[name] = judge(*sets, classes)
        print(f"{name:<14} {100 * result[name]:6.2f} %   {time.perf_counter() - begin:.0f} s", flush=True)
    if args.json:
        print(json.dumps({"model": str(args.model), "pool": args.pool, **result}))


# ---- fine-tuning


class Classifier(nn.Module):
    """The encoder on all patches; mean of the patch tokens and a norm (the paper's global pool), or the class token."""

    def __init__(self, mae: ViTMAEForPreTraining, classes: int, rates: list[float]):
        super().__init__()
        self.vit, self.rates = mae.vit, rates
        dim = mae.config.hidden_size
        self.norm = nn.LayerNorm(dim, eps=1e-6) if args.pool == "mean" else mae.vit.layernorm
        self.head = nn.Linear(dim, classes)
        nn.init.trunc_normal_(self.head.weight, std=2e-5)
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Tensor) -> Tensor:
        x = tokens(self.vit, pixels, self.rates)
        return self.head(self.norm(x[:, 1:].mean(1) if args.pool == "mean" else x[:, 0]))


def layer_groups(model: Classifier, depth: int) -> list[dict]:
    """A learning rate that falls by `layer_decay` a layer from the head down."""

    def layer(name: str) -> int:
        if name.startswith("vit.embeddings"):
            return 0
        parts = name.split(".")
        numbers = [int(p) for p in parts if p.isdigit()]
        return numbers[0] + 1 if name.startswith(("vit.encoder.layer", "vit.layers")) else depth + 1

    result = []
    for name, p in model.named_parameters():
        if p.requires_grad:
            plain = p.ndim <= 1 or name.endswith((".bias", "cls_token"))
            scale = args.layer_decay ** (depth + 1 - layer(name))
            result.append({"params": [p], "weight_decay": 0.0 if plain else args.weight_decay, "scale": scale})
    return result


def finetune() -> None:
    from timm.data import Mixup
    from timm.loss import SoftTargetCrossEntropy

    mae = load_model()
    if args.from_scratch:
        c = mae.config
        mae = new_model(
            {
                "dim": c.hidden_size, "depth": c.num_hidden_layers, "heads": c.num_attention_heads,
                "image_height": c.image_size, "patch_size": c.patch_size, "decoder_dim": 4, "decoder_depth": 1,
                "decoder_heads": 1,
            },
            0.75,
        )
    mae.config.mask_ratio = 0.0
    side, depth = mae.config.image_size, mae.config.num_hidden_layers
    train, test = Images(args.train), Images(args.test)
    classes = len(train.classes)
    rates = [args.drop_path * i / max(depth - 1, 1) for i in range(depth)]
    model = Classifier(mae, classes, rates)
    if args.pool == "mean":
        for p in mae.vit.layernorm.parameters():
            p.requires_grad_(False)
    mae.vit.embeddings.position_embeddings.requires_grad_(False)
    view = [transforms.RandomCrop(side, padding=4), transforms.RandomHorizontalFlip()]
    if args.rand_augment != "off":
        from PIL import ImageOps
        from timm.data.auto_augment import rand_augment_transform

        # Pillow 13 refuses the 0 bits that timm's strongest `posterize` asks for.
        posterize = ImageOps.posterize
        ImageOps.posterize = lambda image, bits: posterize(image, max(bits, 1))
        mean = tuple(round(255 * m) for m in MEAN)
        view.append(rand_augment_transform(args.rand_augment, {"translate_const": int(side * 0.45), "img_mean": mean}))
    view = transforms.Compose(view)
    erase = None
    if args.random_erasing:
        from timm.data.random_erasing import RandomErasing

        erase = RandomErasing(args.random_erasing, mode="pixel", device="cpu")
    mix = None
    if args.mixup or args.cutmix:
        mix = Mixup(args.mixup, args.cutmix, prob=1.0, switch_prob=0.5, mode="batch",
                    label_smoothing=args.label_smoothing, num_classes=classes)
    soft, hard = SoftTargetCrossEntropy(), nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)
    batch = args.batch_size
    lr = args.blr * batch / 256
    optimizer = torch.optim.AdamW(layer_groups(model, depth), lr=lr, betas=(0.9, 0.999), foreach=True)
    pixels, steps, begin = whole(test, side), len(train) // batch, time.perf_counter()
    accuracy = 0.0
    for epoch in range(args.epochs):
        model.train()
        order, total = torch.randperm(len(train)), 0.0
        for i in range(steps):
            ids = order[i * batch : (i + 1) * batch]
            x = normalize(torch.stack([to_tensor(view(train.images[j])) for j in ids.tolist()]))
            if erase:
                x = erase(x)
            y = train.labels[ids]
            if mix:
                x, y = mix(x, y)
            for group in optimizer.param_groups:
                group["lr"] = group["scale"] * cosine(epoch + i / steps, lr, args.warmup_epochs, args.epochs, 1e-6)
            loss = (soft if mix else hard)(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            total += loss.item()
        model.eval()
        with torch.no_grad():
            found = torch.cat([model(part).argmax(1) for part in pixels.split(256)])
        accuracy = (found == test.labels).double().mean().item()
        print(f"epoch {epoch + 1}/{args.epochs}  loss {total / steps:.4f}  accuracy {100 * accuracy:.2f} %  "
              f"{time.perf_counter() - begin:.0f} s", flush=True)
    if args.json:
        print(json.dumps({"model": str(args.model), "pool": args.pool, "epochs": args.epochs, "accuracy": accuracy}))


torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
torch.manual_seed(args.seed)
# timm's transforms draw from these.
import random

random.seed(args.seed)
np.random.seed(args.seed)
{"pretrain": pretrain, "evaluate": evaluate, "finetune": finetune}[args.command]()
