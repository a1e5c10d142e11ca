"""Writes a LoRA of random matrices for a checkpoint in diffusers layout.

usage: lora.py CHECKPOINT OUT.safetensors LAYOUT [--seed N]
LAYOUT: kohya   the layout of kohya's scripts, in diffusers' names, with an alpha for each module; linear and convolution, U-Net and text encoders
        sgm     the same with the names of the original code for the U-Net, as kohya's scripts write them for SDXL
        peft    the layout of diffusers and PEFT; linear layers of U-Net and text encoders, alpha in the metadata
        old     the layout of diffusers before PEFT: attention of the U-Net alone
"""
import argparse, json, pathlib
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")


def parts(folder):
    yield "unet", UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    yield "text_encoder", CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    if (folder / "text_encoder_2").exists():
        yield "text_encoder_2", CLIPTextModelWithProjection.from_pretrained(folder, subfolder="text_encoder_2")


def original(name, layers):
    """A module of the U-Net in the numbering of the original code."""
    p = name.split(".")
    inner = dict(conv1="in_layers.2", conv2="out_layers.3", time_emb_proj="emb_layers.1", conv_shortcut="skip_connection")
    if p[0] in ("down_blocks", "up_blocks") and p[2] in ("resnets", "attentions"):
        block = int(p[1]) * (layers + 1) + int(p[3]) + (p[0] == "down_blocks")
        rest = inner[p[4]] if p[2] == "resnets" else ".".join(p[4:])
        return f'{"input" if p[0] == "down_blocks" else "output"}_blocks.{block}.{int(p[2] == "attentions")}.{rest}'
    if p[0] == "mid_block":
        return f"middle_block.{2 * int(p[2])}.{inner[p[3]]}" if p[1] == "resnets" else "middle_block.1." + ".".join(p[3:])
    return None


def write(folder, out, layout, seed=0):
    torch.manual_seed(seed)
    tensors, metadata = {}, {}
    for part, model in parts(folder):
        prefix = dict(unet="lora_unet", text_encoder="lora_te" if not (folder / "text_encoder_2").exists() else "lora_te1", text_encoder_2="lora_te2")[part]
        for name, module in model.named_modules():
            linear, conv = isinstance(module, torch.nn.Linear), isinstance(module, torch.nn.Conv2d)
            if not (linear or conv) or "embed" in name or name in ("conv_in", "conv_out", "text_projection") or "samplers" in name:
                continue
            if layout == "peft" and not name.endswith(ATTENTION) or layout == "old" and (part != "unet" or not name.endswith(ATTENTION)):
                continue
            rank = 4 if linear else 3
            shape = module.weight.shape
            down = torch.randn(rank, *shape[1:]) / shape[1:].numel() ** 0.5
            up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2)) * 0.3
            full = name if part == "unet" or name.startswith("text_model") else "text_model." + name
            if layout in ("kohya", "sgm"):
                used = original(name, model.config.layers_per_block) if layout == "sgm" and part == "unet" else full
                if used is None:
                    continue
                key = f'{prefix}_{used.replace(".", "_")}'
                tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(2.0)}
            elif layout == "peft":
                tensors |= {f"{part}.{name}.lora_A.weight": down, f"{part}.{name}.lora_B.weight": up}
                metadata |= {f"{part}.r": 4, f"{part}.lora_alpha": 6, f"{part}.target_modules": [t.removesuffix(".0") if part != "unet" else t for t in ATTENTION]}
            else:
                before, last = name.removesuffix(".0").rsplit(".", 1)
                tensors |= {f"unet.{before}.processor.{last}_lora.down.weight": down, f"unet.{before}.processor.{last}_lora.up.weight": up}
    save_file({k: v.contiguous() for k, v in tensors.items()}, out,
              metadata={"format": "pt"} | ({"lora_adapter_metadata": json.dumps(metadata)} if metadata else {}))


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint", type=pathlib.Path); p.add_argument("out"); p.add_argument("layout", choices=("kohya", "sgm", "peft", "old"))
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    write(a.checkpoint, a.out, a.layout, a.seed)
