"""Puts a checkpoint folder in diffusers layout into one file in the layout of the original code (LDM for Stable Diffusion 1 and 2, SGM for XL).

usage: single_file.py FOLDER FILE [--check]
The inverse of what a reader of such files does: diffusers' names become the original ones, the matrices of the autoencoder's attention 1x1
convolutions, and the three projections of OpenCLIP's attention one. A second text encoder makes it SGM; a text encoder with erf's GELU, OpenCLIP's.
Beside the file goes a folder of its name with the configurations and the tokenizer, which the full-size families do not need.
--check loads the file with diffusers' own reader and compares every tensor with the folder's.
"""
import argparse, json, pathlib, re, shutil
import torch
from safetensors.torch import load_file, save_file


def weights(folder):
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(path))
    return tensors


def unet(name, layers, attention):
    """The original name of one of the U-Net's tensors. `attention`: the levels upwards that have transformers."""
    outside = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
               "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2", "conv_norm_out": "out.0", "conv_out": "out.2",
               "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2"}
    for new, old in outside.items():
        if name.startswith(new + "."):
            name = old + name[len(new):]
            break
    else:
        way, level, kind, at, rest = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", name).groups()
        level, at = int(level), int(at)
        if kind == "downsamplers":
            name = f"input_blocks.{(layers + 1) * (level + 1)}.0.op.{rest.removeprefix('conv.')}"
        elif kind == "upsamplers":
            name = f"output_blocks.{(layers + 1) * level + layers}.{2 if attention[level] else 1}.{rest}"
        else:
            block = (layers + 1) * level + at + (way == "down")
            name = f"{'input' if way == 'down' else 'output'}_blocks.{block}.{0 if kind == 'resnets' else 1}.{rest}"
    if "transformer_blocks" not in name:
        for new, old in dict(norm1="in_layers.0", conv1="in_layers.2", time_emb_proj="emb_layers.1", norm2="out_layers.0", conv2="out_layers.3",
                             conv_shortcut="skip_connection").items():
            name = name.replace(f".{new}.", f".{old}.")
    return name


def autoencoder(tensors, levels):
    out = {}
    for name, tensor in tensors.items():
        name = re.sub(r"decoder\.up_blocks\.(\d+)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}", name)
        name = re.sub(r"encoder\.down_blocks\.(\d+)", r"encoder.down.\1", name)
        name = re.sub(r"(up|down)\.(\d+)\.resnets\.", r"\1.\2.block.", name)
        name = re.sub(r"\.(up|down)samplers\.0\.", r".\1sample.", name)
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if "mid_block.attentions.0." in name:
            name = name.replace("mid_block.attentions.0.", "mid.attn_1.")
            for new, old in dict(group_norm="norm", to_q="q", to_k="k", to_v="v").items():
                name = name.replace(f".{new}.", f".{old}.")
            name = name.replace(".to_out.0.", ".proj_out.")
            tensor = tensor[:, :, None, None] if tensor.dim() == 2 else tensor
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        out[name] = tensor
    return out


def clip(tensors):
    return {name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": tensor for name, tensor in tensors.items()}


def open_clip(tensors):
    tensors, out = clip(tensors), {}
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            out["text_projection"] = tensor.T
            continue
        name = name.removeprefix("text_model.")
        if found := re.fullmatch(r"(encoder\.layers\.\d+)\.self_attn\.q_proj\.(weight|bias)", name):
            layer, kind = found.groups()
            name = f"{layer}.attn.in_proj_{kind}"
            tensor = torch.cat([tensors[f"text_model.{layer}.self_attn.{side}_proj.{kind}"] for side in "qkv"])
        elif re.search(r"self_attn\.[kv]_proj", name):
            continue
        for new, old in {"embeddings.token_embedding": "token_embedding", "embeddings.position_embedding.weight": "positional_embedding",
                         "final_layer_norm": "ln_final", "encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                         "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}.items():
            name = name.replace(new, old)
        out[name] = tensor
    return out


def convert(folder):
    config = lambda part: json.loads((folder / part / "config.json").read_text())
    network = config("unet")
    attention = ["CrossAttn" in kind for kind in network["up_block_types"]]
    out = {f"model.diffusion_model.{unet(name, network['layers_per_block'], attention)}": tensor for name, tensor in weights(folder / "unet").items()}
    levels = len(config("vae")["block_out_channels"])
    out |= {f"first_stage_model.{name}": tensor for name, tensor in autoencoder(weights(folder / "vae"), levels).items()}
    text = weights(folder / "text_encoder")
    if (folder / "text_encoder_2").exists():
        out |= {f"conditioner.embedders.0.transformer.{name}": tensor for name, tensor in clip(text).items()}
        out |= {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in open_clip(weights(folder / "text_encoder_2")).items()}
    elif config("text_encoder")["hidden_act"] == "gelu":
        out |= {f"cond_stage_model.model.{name}": tensor for name, tensor in open_clip(text).items()}
    else:
        out |= {f"cond_stage_model.transformer.{name}": tensor for name, tensor in clip(text).items()}
    return {name: tensor.contiguous() for name, tensor in out.items()}


def check(folder, file):
    """Every tensor that diffusers reads from the file against the folder's."""
    import diffusers
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    name = json.loads((folder / "model_index.json").read_text())["_class_name"]
    pipeline = getattr(diffusers, name)
    single = pipeline.from_single_file(str(file), config=str(folder), local_files_only=True)
    whole = pipeline.from_pretrained(str(folder))
    count = 0
    for part in ["unet", "vae", "text_encoder"] + ["text_encoder_2"] * hasattr(whole, "text_encoder_2"):
        ours, theirs = getattr(single, part).state_dict(), getattr(whole, part).state_dict()
        if part == "text_encoder_2":
            # diffusers tells the two encoders apart by their widths, which are the same in miniature; so its converter is asked directly.
            ours = convert_open_clip_checkpoint(whole.text_encoder_2, load_file(file), prefix="conditioner.embedders.1.model.")
        for key, tensor in theirs.items():
            if not (key in ours and torch.equal(ours[key].float(), tensor.float())):
                print(f"{part}: {key} differs")
                break
            count += 1
        else:
            continue
        return False
    print(f"{count} tensors as in the folder")
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("file", type=pathlib.Path)
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    save_file(convert(a.folder), a.file)
    beside = a.file.with_suffix("")
    for path in sorted(a.folder.rglob("*")):
        if path.suffix in (".json", ".txt") and not path.name.endswith(".index.json"):
            to = beside / path.relative_to(a.folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)
    print(a.file)
    if a.check and not check(a.folder, a.file):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
