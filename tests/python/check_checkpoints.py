"""Checkpoints between `host` and torch, transformers, timm.

usage: check_checkpoints.py make FOLDER
       check_checkpoints.py check FOLDER PARITY
       check_checkpoints.py classifiers FOLDER
`make` writes models with random weights and learned positions as those libraries save them, and what they compute.
`check` reads in FOLDER what `host export` wrote of the model in PARITY, with the libraries' own strict readers, and
compares weights (equal) and outputs (to 1e-5). `classifiers` does the same with what `host export` wrote of the
classifiers that `make` made. One line a check; exits with 1 if one fails.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from transformers import ViTConfig, ViTForImageClassification, ViTMAEConfig, ViTMAEForPreTraining, ViTMAEModel

CLOSE = 1e-5


def patchify(images: torch.Tensor, p: int) -> torch.Tensor:
    """[B, C, H, W] to [B, L, p*p*C], patches row by row, channels fastest."""
    b, c, h, w = images.shape
    x = images.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 3, 5, 1)
    return x.reshape(b, -1, p * p * c)


def make(folder: Path) -> int:
    torch.manual_seed(5)
    images = torch.randn(2, 3, 24, 24)
    noise = torch.rand(2, 36)
    arrays = {"patches": patchify(images, 4), "noise": noise}
    with torch.no_grad():
        model = timm.create_model(
            "vit_tiny_patch16_224", img_size=24, patch_size=4, embed_dim=64, depth=2, num_heads=2, num_classes=10
        ).eval()
        model.pos_embed.normal_()
        timm.models.save_for_hf(model, folder / "timm", safe_serialization="both")
        arrays["timm"] = model.forward_features(images)

        config = ViTMAEConfig(
            image_size=24, patch_size=4, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=160, decoder_hidden_size=32, decoder_num_hidden_layers=3, decoder_num_attention_heads=2,
            decoder_intermediate_size=80, layer_norm_eps=1e-6, norm_pix_loss=True, mask_ratio=0.5,
        )
        model = ViTMAEForPreTraining(config).eval()
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.save_pretrained(folder / "files")
        model.config.save_pretrained(folder / "memory")
        torch.save(model.state_dict(), folder / "memory" / "pytorch_model.bin")
        output = model(pixel_values=images, noise=noise)
        arrays["pred"], arrays["loss"] = output.logits, output.loss.reshape(1)
    make_classifiers(folder)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.numpy())
    return 0


CLASSES = ["apple", "pear, green", "plum", "quince"]


def classifiers() -> dict:
    """Fine-tuned models by the folder that they go to: each reads another feature."""
    size = dict(img_size=24, patch_size=4, embed_dim=64, depth=2, num_heads=2, num_classes=4)
    timm_model = lambda **pool: timm.create_model("vit_tiny_patch16_224", **size, **pool)  # noqa: E731
    config = ViTConfig(
        image_size=24, patch_size=4, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=256, num_labels=4, layer_norm_eps=1e-6, id2label=dict(enumerate(CLASSES)),
    )
    return {
        "timm-avg": timm_model(global_pool="avg"),
        "timm-token": timm_model(global_pool="token"),
        "timm-mean": timm_model(global_pool="avg", fc_norm=False),
        "vit": ViTForImageClassification(config),
    }


def make_classifiers(folder: Path) -> None:
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    (folder / "pictures").mkdir()
    pictures = rng.integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / "pictures" / f"{index}.png")
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255.0
    images = (images - 0.5) / 0.5
    scores = {}
    with torch.no_grad():
        for name, model in classifiers().items():
            model = model.eval()
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
            if name == "vit":
                model.save_pretrained(folder / name)
                stats = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
                (folder / name / "preprocessor_config.json").write_text(json.dumps(stats))
                logits = model(images).logits
            else:
                timm.models.save_for_hf(
                    model, folder / name, safe_serialization="both",
                    model_args=dict(img_size=24, patch_size=4, embed_dim=64, depth=2, num_heads=2)
                    | (dict(fc_norm=False) if name == "timm-mean" else {}),
                    model_config=dict(label_names=CLASSES),
                )
                logits = model(images)
            if name == "timm-avg":
                # As the official fine-tuning saves it.
                args = argparse.Namespace(global_pool=True, input_size=24, nb_classes=4)
                torch.save({"model": model.state_dict(), "args": args}, folder / "official.pth")
            scores[name] = torch.softmax(logits, dim=1).tolist()
    (folder / "scores.json").write_text(json.dumps({"classes": CLASSES, "scores": scores}))


def check_classifiers(folder: Path) -> int:
    checks = Checks()
    original = {name: load_file(folder / name / "model.safetensors") for name in classifiers()}
    again = torch.load(folder / "again-official.pth", weights_only=True)
    checks.equal("torch reads the official classifier", dict(again["model"]), original["timm-avg"])
    checks.say(f"its arguments: {again['args']}", again["args"]["global_pool"] is True)
    for name in ("timm-avg", "timm-token", "timm-mean"):
        model = timm.create_model(f"local-dir:{folder / ('again-' + name)}", pretrained=True).eval()
        checks.equal(f"timm makes and reads {name}", model.state_dict(), original[name])
        expected = timm.create_model(f"local-dir:{folder / name}", pretrained=True).eval()
        images = torch.randn(3, 3, 24, 24)
        checks.close(f"{name}: logits", model(images), expected(images))
        checks.say(f"{name}: names of classes", list(model.pretrained_cfg["label_names"]) == CLASSES)
    model, info = ViTForImageClassification.from_pretrained(folder / "again-vit", output_loading_info=True)
    checks.say(f"transformers reads vit: {info}", not any(info.values()))
    checks.say("vit: names of classes", list(model.config.id2label.values()) == CLASSES)
    images = torch.randn(3, 3, 24, 24)
    expected = ViTForImageClassification.from_pretrained(folder / "vit").eval()
    checks.close("vit: logits", model.eval()(images).logits, expected(images).logits)
    return 1 if checks.failed else 0


class Checks:
    failed = 0

    def equal(self, what: str, found: dict, expected: dict) -> None:
        same = found.keys() == expected.keys() and all(
            found[k].dtype == expected[k].dtype and torch.equal(found[k], expected[k]) for k in expected
        )
        self.say(f"{what}: {len(expected)} tensors", same)

    def close(self, what: str, found: torch.Tensor, expected: torch.Tensor) -> None:
        error = (found - expected).abs().max().item() if found.shape == expected.shape else np.inf
        self.say(f"{what}: largest difference {error:.1e}", error <= CLOSE)

    def say(self, what: str, fine: bool) -> None:
        self.failed += not fine
        print(f"{what}, {'fine' if fine else 'WRONG'}")


def check(folder: Path, parity: Path) -> int:
    checks = Checks()
    original = load_file(parity / "checkpoint.safetensors")
    forward = load_file(parity / "forward.safetensors")
    images, noise = forward["images"], forward["noise"]

    pth = torch.load(folder / "official.pth", weights_only=True)
    checks.equal(f"torch {torch.__version__} reads official.pth", dict(pth["model"]), original)
    checks.equal("safetensors reads official.safetensors", load_file(folder / "official.safetensors"), original)
    mapped = torch.load(folder / "official.pth", weights_only=True, mmap=True)
    checks.equal("torch maps official.pth", dict(mapped["model"]), original)

    with torch.no_grad():
        name = f"transformers {transformers.__version__}"
        model, info = ViTMAEForPreTraining.from_pretrained(folder / "huggingface", output_loading_info=True)
        checks.say(f"{name}: {info}", not any(info.values()))
        output = model.eval()(pixel_values=images, noise=noise)
        checks.close(f"{name}: prediction", output.logits, forward["pred"])
        checks.close(f"{name}: loss", output.loss.reshape(1), forward["loss_norm_pix"])
        checks.close("host: prediction", torch.from_numpy(np.load(folder / "pred.npy")), output.logits)
        checks.close("host: loss", torch.from_numpy(np.load(folder / "loss.npy")), output.loss.reshape(1))
        model, info = ViTMAEModel.from_pretrained(folder / "encoder", output_loading_info=True)
        checks.say(f"{name}: encoder alone: {info}", not any(info.values()))

        name = f"timm {timm.__version__}"
        model = timm.create_model(f"local-dir:{folder / 'timm'}", pretrained=True).eval()
        checks.close(f"{name}: tokens", model.forward_features(images), forward["latent_all_visible"])
        model = VisionTransformer(img_size=32, patch_size=4, embed_dim=48, depth=2, num_heads=3, num_classes=0).eval()
        model.load_state_dict(load_file(folder / "timm" / "model.safetensors"), strict=True)
        checks.close(f"{name}: tokens, strict", model.forward_features(images), forward["latent_all_visible"])
    return 1 if checks.failed else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", folder]:
            sys.exit(make(Path(folder)))
        case ["classifiers", folder]:
            with torch.no_grad():
                sys.exit(check_classifiers(Path(folder)))
        case ["check", folder, parity]:
            sys.exit(check(Path(folder), Path(parity)))
        case _:
            print(__doc__, file=sys.stderr)
            sys.exit(2)
