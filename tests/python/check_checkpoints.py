"""Checkpoints between `host` and torch, transformers, timm.

usage: check_checkpoints.py make FOLDER
       check_checkpoints.py check FOLDER PARITY
`make` writes models with random weights and learned positions as those libraries save them, and what they compute.
`check` reads in FOLDER what `host export` wrote of the model in PARITY, with the libraries' own strict readers, and
compares weights (equal) and outputs (to 1e-5). One line a check; exits with 1 if one fails.
"""

import sys
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTMAEModel

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
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.numpy())
    return 0


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
        case ["check", folder, parity]:
            sys.exit(check(Path(folder), Path(parity)))
        case _:
            print(__doc__, file=sys.stderr)
            sys.exit(2)
