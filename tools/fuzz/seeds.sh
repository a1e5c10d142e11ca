#!/usr/bin/env bash
# Fills corpus/ with files that are right.
set -euo pipefail
cd "$(dirname "$0")"
root=../..
mkdir -p corpus/{header,configuration,lora,single_file,recipe,tokenizer}
cp $root/recipes/*.sega corpus/recipe/
# The first byte says which file it is.
number=0
for file in unet/config.json text_encoder/config.json vae/config.json scheduler/scheduler_config.json text_encoder_2/config.json; do
  for folder in $root/models/mini $root/tests/reference/network/*; do
    if [ -f "$folder/$file" ]; then
      { printf "\\x0$number"; cat "$folder/$file"; } > "corpus/configuration/$(basename "$folder")-${file//\//-}"
    fi
  done
  number=$((number + 1))
done
number=0
for file in tokenizer.json vocab.json merges.txt tokenizer_config.json; do
  { printf "\\x0$number"; head -c 60000 "$root/models/mini/tokenizer/$file"; } > "corpus/tokenizer/$file"
  number=$((number + 1))
done
# Headers with their numbers, of which only the count matters.
python3 - <<'PYTHON'
import json, pathlib, struct
def file(shapes, metadata=None):
    header, at = ({"__metadata__": metadata} if metadata else {}), 0
    for name, (dtype, shape) in shapes.items():
        size = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}[dtype]
        for side in shape:
            size *= side
        header[name] = dict(dtype=dtype, shape=shape, data_offsets=[at, at + size])
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)
out = pathlib.Path("corpus")
(out / "header/two").write_bytes(file({"a": ("F32", [2]), "b.weight": ("F16", [2, 3])}, {"format": "pt"}))
(out / "header/none").write_bytes(file({}))
module = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
keys = {
    "kohya": [f"{module}.lora_down.weight", f"{module}.lora_up.weight", f"{module}.alpha"],
    "peft": ["unet.mid_block.attentions.0.proj_in.lora_A.weight", "unet.mid_block.attentions.0.proj_in.lora_B.weight"],
    "old": ["unet.mid_block.attentions.0.proj_in.processor.to_q_lora.down.weight", "unet.mid_block.attentions.0.proj_in.processor.to_q_lora.up.weight"],
    "text": ["lora_te_text_model_encoder_layers_1_self_attn_q_proj.lora_down.weight", "lora_te_text_model_encoder_layers_1_self_attn_q_proj.lora_up.weight"],
    "sgm": ["lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_up.weight"],
}
for name, all in keys.items():
    (out / "lora" / name).write_text("\n".join(all))
attention = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
for name, width, more in [("first", 3, "cond_stage_model.transformer.text_model.final_layer_norm.weight"), ("second", 4, "cond_stage_model.model.ln_final.weight"),
                          ("xl", 2, "conditioner.embedders.1.model.ln_final.weight")]:
    (out / "single_file" / name).write_bytes(file({attention: ("F16", [2, width]), more: ("F16", [width]), "first_stage_model.decoder.conv_in.weight": ("F16", [1]),
        "model.diffusion_model.input_blocks.0.0.weight": ("F16", [2, 4, 1, 1])}, {"modelspec.predict_key": "v"}))
PYTHON
