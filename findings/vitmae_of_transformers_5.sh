#!/usr/bin/env bash
# transformers 5.24.0: a ViTMAEForPreTraining made from a configuration, to be trained from scratch, has tables of
# positions of zeros in both halves and never trains them (`requires_grad` is false): the model cannot know where a
# patch is. A published checkpoint brings its own tables, so nobody notices there. And the names of `state_dict()` are
# not those of the file that `save_pretrained` makes of it: `vit.layers.0.attention.q_proj` in memory,
# `vit.encoder.layer.0.attention.attention.query` in the file; what `torch.save(model.state_dict())` keeps is read by
# no loader that knows the file's names alone.
# Seen: "position_embeddings 0.0 False", "decoder_pos_embed 0.0 False", 46 names in memory, 46 in the file, 14 in both.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check torch==2.15.0 transformers==5.24.0 safetensors==0.8.0 numpy==2.4.6
found=$(venv/bin/python - 2>/dev/null <<'PY'
from safetensors.torch import load_file
from transformers import ViTMAEConfig, ViTMAEForPreTraining
model = ViTMAEForPreTraining(ViTMAEConfig(
    image_size=32, patch_size=8, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=256,
    decoder_hidden_size=32, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=128))
for name, table in model.named_parameters():
    if "position_embeddings" in name or "pos_embed" in name:
        print(name.rsplit(".", 1)[1], table.abs().max().item(), table.requires_grad)
model.save_pretrained("saved")
memory, file = set(model.state_dict()), set(load_file("saved/model.safetensors"))
print(len(memory), len(file), len(memory & file))
PY
)
echo "$found"
grep -qx 'position_embeddings 0.0 False' <<<"$found"
grep -qx 'decoder_pos_embed 0.0 False' <<<"$found"
read -r memory file both <<<"$(tail -1 <<<"$found")"
[ "$memory" = "$file" ] && [ "$both" -lt "$memory" ]
