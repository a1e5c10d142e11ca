"""Writes what the networks' tests compare with: outputs of diffusers and transformers, in float32 on the CPU.

usage: network.py                       writes tests/reference/network (run it from the top of the repository)
       network.py --checkpoint FOLDER OUT   the same values for any checkpoint in diffusers layout, to OUT (safetensors)

The cases of the first form need no weight files: their weights follow from the tensors' names by `weight` below, and
tests/network.rs has the same formula. `mini` takes the weights in models/mini. Needs torch, diffusers, transformers.
"""
import argparse, json, math, pathlib

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, LatentConsistencyModelPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

MASK = (1 << 64) - 1


def uniform(name, count):
    """`count` numbers in [-1, 1): FNV-1a of the name seeds SplitMix64, of whose numbers the top 24 bits are taken."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2.0**23 - 1.0


def weight(name, shape):
    """Unit gain for matrices and kernels, about 1 for scales, about 0 for biases."""
    u = uniform(name, math.prod(shape))
    if len(shape) > 1:
        u = u * math.sqrt(3.0 / math.prod(shape[1:]))
    elif name.endswith("weight"):
        u = 1.0 + 0.2 * u
    else:
        u = 0.2 * u
    return torch.from_numpy(u.astype(np.float32)).reshape(shape)


def tensor(name, *shape):
    """Unit-variance input that follows from its name."""
    return torch.from_numpy((uniform(name, math.prod(shape)) * math.sqrt(3.0)).astype(np.float32)).reshape(shape)


@torch.no_grad()
def outputs(unet, text_encoder, vae, latent, decoded, text_encoder_2=None, size=(40, 48), guidance=4.5):
    """What the test computes too: latents of two sizes, three texts, two timesteps; for networks that are told them a picture's
    height and width and a guidance scale."""
    length, vocabulary = text_encoder.config.max_position_embeddings, text_encoder.config.vocab_size
    ids = [[(7 + 31 * row + row * row * at + 13 * at) % vocabulary for at in range(length)] for row in range(3)]
    more = {}
    if text_encoder_2 is None:
        text = text_encoder(torch.tensor(ids)).last_hidden_state
    else:
        made = [encoder(torch.tensor(ids), output_hidden_states=True) for encoder in (text_encoder, text_encoder_2)]
        text = torch.cat([vectors.hidden_states[-2] for vectors in made], dim=-1)
        more["added_cond_kwargs"] = dict(text_embeds=made[1].text_embeds, time_ids=torch.tensor([[*size, 0, 0, *size]] * 3, dtype=torch.float32))
    if width := unet.config.time_cond_proj_dim:
        embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
        more["timestep_cond"] = embed(None, torch.tensor([guidance - 1.0] * 3), embedding_dim=width)
    channels = unet.config.in_channels
    latents = tensor("latents", 1, channels, *latent)
    result = {"text": text[:, :, :: max(1, text.shape[2] // 16)]}
    for t in (981.0, 37.25):
        result[f"estimate_{t}"] = unet(latents.expand(3, -1, -1, -1), torch.tensor(t), encoder_hidden_states=text, **more).sample
    z = tensor("decoded", 1, channels, *decoded) * vae.config.scaling_factor
    result["pixels"] = (vae.decode(z / vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
    result["latent_size"] = torch.tensor(latent, dtype=torch.int32)
    result["decoded_size"] = torch.tensor(decoded, dtype=torch.int32)
    return {k: v.contiguous() for k, v in result.items()}


def load(folder):
    config = json.loads((folder / "vae/config.json").read_text())
    vae = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}[config["_class_name"]]
    kinds = dict(unet=UNet2DConditionModel, text_encoder=CLIPTextModel, vae=vae)
    return {part: kind.from_pretrained(folder, subfolder=part, torch_dtype=torch.float32).eval() for part, kind in kinds.items()}


BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
CASES = {
    # Stable Diffusion 2's ways: linear projections, heads by level, v; and lists wherever a list is allowed.
    "lists": dict(
        unet=dict(sample_size=[12, 20], block_out_channels=[16, 24, 32], layers_per_block=[1, 2, 1], norm_num_groups=8,
                  down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                  up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
                  cross_attention_dim=24, attention_head_dim=[2, 3, 4], transformer_layers_per_block=[1, 2, 1],
                  only_cross_attention=[False, True, False], use_linear_projection=True, upcast_attention=True),
        text_encoder=dict(vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3,
                          max_position_embeddings=11, hidden_act="gelu", bos_token_id=48, eos_token_id=49),
        vae=dict(_class_name="AutoencoderKL", block_out_channels=[8, 16], down_block_types=["DownEncoderBlock2D"] * 2,
                 up_block_types=["UpDecoderBlock2D"] * 2, layers_per_block=1, norm_num_groups=4, scaling_factor=0.5),
        scheduler=dict(_class_name="DDIMScheduler", **BETAS, prediction_type="v_prediction", set_alpha_to_one=False, steps_offset=1),
        latent=(5, 7), decoded=(5, 3)),
    # Stable Diffusion XL's ways: two text encoders, the whole text's vector and the picture's measures, transformers of several layers; and the
    # guidance scale of a distilled network.
    "pair": dict(
        unet=dict(sample_size=8, block_out_channels=[16, 24], layers_per_block=1, norm_num_groups=8,
                  down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
                  cross_attention_dim=40, attention_head_dim=[2, 3], transformer_layers_per_block=[1, 2], use_linear_projection=True,
                  addition_embed_type="text_time", addition_time_embed_dim=6, projection_class_embeddings_input_dim=6 * 6 + 20,
                  time_cond_proj_dim=10),
        text_encoder=dict(vocab_size=50, hidden_size=16, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2,
                          max_position_embeddings=11, hidden_act="quick_gelu", bos_token_id=48, eos_token_id=49),
        text_encoder_2=dict(vocab_size=50, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
                            max_position_embeddings=11, hidden_act="gelu", projection_dim=20, bos_token_id=48, eos_token_id=2),
        vae=dict(_class_name="AutoencoderKL", block_out_channels=[8, 8], down_block_types=["DownEncoderBlock2D"] * 2,
                 up_block_types=["UpDecoderBlock2D"] * 2, layers_per_block=1, norm_num_groups=4, scaling_factor=0.13),
        scheduler=dict(_class_name="EulerDiscreteScheduler", **BETAS, timestep_spacing="leading", steps_offset=1),
        latent=(4, 6), decoded=(3, 5)),
    # Everything that is rare, and keys left out where the default is meant.
    "rare": dict(
        unet=dict(sample_size=8, block_out_channels=[16, 32], layers_per_block=1, norm_num_groups=4, norm_eps=1e-4,
                  down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
                  cross_attention_dim=16, attention_head_dim=2, center_input_sample=True, flip_sin_to_cos=False, freq_shift=1,
                  downsample_padding=0, mid_block_type="UNetMidBlock2D", mid_block_scale_factor=1.5, conv_in_kernel=5,
                  time_embedding_dim=48),
        text_encoder=dict(vocab_size=40, hidden_size=16, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
                          max_position_embeddings=9, hidden_act="quick_gelu", layer_norm_eps=1e-3, bos_token_id=38, eos_token_id=39),
        vae=dict(_class_name="AutoencoderKL", block_out_channels=[8, 8, 16], down_block_types=["DownEncoderBlock2D"] * 3,
                 up_block_types=["UpDecoderBlock2D"] * 3, layers_per_block=2, norm_num_groups=2, scaling_factor=0.3,
                 use_post_quant_conv=False, mid_block_add_attention=False),
        scheduler=dict(_class_name="PNDMScheduler", **BETAS, skip_prk_steps=True),
        latent=(4, 6), decoded=(2, 3)),
}


def build(case):
    vae = {k: v for k, v in case["vae"].items() if k != "_class_name"}
    parts = dict(unet=UNet2DConditionModel(**case["unet"]), text_encoder=CLIPTextModel(CLIPTextConfig(**case["text_encoder"])),
                 vae=AutoencoderKL(**vae))
    if "text_encoder_2" in case:
        parts["text_encoder_2"] = CLIPTextModelWithProjection(CLIPTextConfig(**case["text_encoder_2"]))
    for part in parts.values():
        part.load_state_dict({name: weight(name, tuple(old.shape)) if old.is_floating_point() else old
                              for name, old in part.state_dict().items()})
        part.eval()
    return parts


def listing(shapes):
    """A line for each tensor: how many leading parts of its name are those of the line before, the other parts, the shape."""
    lines, before = [], []
    for name, shape in shapes.items():
        parts = name.split(".")
        shared = next((i for i, (a, b) in enumerate(zip(parts, before)) if a != b), min(len(parts), len(before)))
        lines.append(f"{shared} {'.'.join(parts[shared:])} {' '.join(map(str, shape))}\n")
        before = parts
    return "".join(lines)


def write_case(name, case, folder):
    parts = build(case)
    for part, module in parts.items():
        (folder / name / part).mkdir(parents=True, exist_ok=True)
        shapes = {key: value.shape for key, value in module.state_dict().items()
                  if value.is_floating_point() and not key.startswith(("encoder.conv", "encoder.down", "encoder.mid", "quant"))}
        (folder / name / part / "tensors.txt").write_text(listing(shapes))
        (folder / name / part / "config.json").write_text(json.dumps(case[part], indent=1) + "\n")
    (folder / name / "scheduler").mkdir(exist_ok=True)
    (folder / name / "scheduler/scheduler_config.json").write_text(json.dumps(case["scheduler"], indent=1) + "\n")
    save_file(outputs(**parts, latent=case["latent"], decoded=case["decoded"]), folder / name / "outputs.safetensors")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", nargs=2, type=pathlib.Path, metavar=("FOLDER", "OUT"))
    p.add_argument("--latent", nargs=2, type=int, default=(6, 5))
    p.add_argument("--decoded", nargs=2, type=int, default=(3, 2))
    a = p.parse_args()
    if a.checkpoint:
        folder, out = a.checkpoint
        save_file(outputs(**load(folder), latent=tuple(a.latent), decoded=tuple(a.decoded)), out)
        return
    folder = pathlib.Path("tests/reference/network")
    for name, case in CASES.items():
        write_case(name, case, folder)
    save_file(outputs(**load(pathlib.Path("models/mini")), latent=(6, 5), decoded=(3, 2)), folder / "mini.safetensors")


if __name__ == "__main__":
    main()
