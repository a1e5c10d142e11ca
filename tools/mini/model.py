"""mini's networks: their shapes, their first weights, and how a checkpoint is written."""
import json
import os
import shutil

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModel

import tokenizer

WIDTH = 128               # of the text encoder, and of what cross-attention reads
TIMESTEPS, BETA_START, BETA_END = 1000, .00085, .012
LIMIT = 24 * 2 ** 20      # bytes of a checkpoint


def text_encoder():
    """CLIP's text model: 3 layers, width 128, 32 tokens. Embeddings start large: 0.02 is for millions of captions."""
    size = len(tokenizer.definition()["model"]["vocab"])
    net = CLIPTextModel(CLIPTextConfig(vocab_size=size, hidden_size=WIDTH, intermediate_size=3 * WIDTH, num_hidden_layers=3, num_attention_heads=4,
                                       max_position_embeddings=tokenizer.LENGTH, hidden_act="quick_gelu", bos_token_id=0, eos_token_id=1, pad_token_id=1,
                                       projection_dim=WIDTH))
    for name, weights in net.named_parameters():
        if "token_embedding" in name:
            torch.nn.init.normal_(weights, std=.3)
        elif "position_embedding" in name:
            torch.nn.init.normal_(weights, std=.05)
    return net


def unet(channels=(64, 96, 128), attention=(False, True, True), heads=4, sample_size=16):
    """Estimates the noise of 4-channel latents; one residual block (two on the way up) and, where `attention`, a transformer block each per level."""
    down = tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attention)
    up = tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attention))
    return UNet2DConditionModel(sample_size=sample_size, in_channels=4, out_channels=4, block_out_channels=tuple(channels), layers_per_block=1,
                                down_block_types=down, up_block_types=up, cross_attention_dim=WIDTH, attention_head_dim=heads, norm_num_groups=16)


def scheduler():
    return DDIMScheduler(num_train_timesteps=TIMESTEPS, beta_start=BETA_START, beta_end=BETA_END, beta_schedule="scaled_linear", clip_sample=False,
                         set_alpha_to_one=False, steps_offset=1, prediction_type="epsilon")


def signal_shares():
    """alphas_cumprod: the share of signal power at each of the TIMESTEPS, float32."""
    betas = torch.linspace(BETA_START ** .5, BETA_END ** .5, TIMESTEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


class PlainAttention:
    """Attention as two products and a softmax. In training on a CPU this is twice as fast as torch's fused attention, whose backward pass is slow there."""

    def __call__(self, attn, x, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = x if encoder_hidden_states is None else encoder_hidden_states
        (batch, tokens, width), heads = x.shape, attn.heads

        def by_head(y):
            return y.view(batch, -1, heads, width // heads).transpose(1, 2).reshape(batch * heads, -1, width // heads)
        q, k, v = by_head(attn.to_q(x) * (width // heads) ** -.5), by_head(attn.to_k(context)), by_head(attn.to_v(context))
        y = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
        return attn.to_out[0](y.view(batch, heads, tokens, -1).transpose(1, 2).reshape(batch, tokens, width))


def start_from(folder, network, text):
    """Copies the weights of a checkpoint into the networks wherever names and shapes agree, and token embeddings by the tokens' spelling.
    Returns how many tensors were copied and how many were not."""
    with open(f"{folder}/tokenizer/vocab.json") as f:
        theirs = json.load(f)
    vocabulary = tokenizer.definition()["model"]["vocab"]
    copied = left = 0
    for net, path in ((network, f"{folder}/unet/diffusion_pytorch_model.safetensors"), (text, f"{folder}/text_encoder/model.safetensors")):
        ours = net.state_dict()
        for name, weights in load_file(path).items():
            name = name if name in ours else name.removeprefix("text_model.") if name.removeprefix("text_model.") in ours else "text_model." + name
            if name.endswith("token_embedding.weight"):
                for token, row in vocabulary.items():
                    if token in theirs:
                        ours[name][row] = weights[theirs[token]].float()
                copied += 1
            elif name in ours and ours[name].shape == weights.shape:
                ours[name].copy_(weights)
                copied += 1
            else:
                left += 1
    return copied, left


INDEX = {
    "_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False,
    "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderTiny"],
}


def without_origin(path):
    """Takes the folder that a part was loaded from out of its configuration."""
    with open(path) as f:
        config = json.load(f)
    config.pop("_name_or_path", None)
    with open(path, "w") as f:
        f.write(json.dumps(config, indent=2) + "\n")


def export(folder, network, text, vae_folder, scaling_factor):
    """Writes a checkpoint in diffusers' layout, half precision; returns its size in bytes, or fails where it is too large."""
    os.makedirs(folder, exist_ok=True)
    network.half().save_pretrained(f"{folder}/unet")
    text.half().save_pretrained(f"{folder}/text_encoder")
    tokenizer.write(f"{folder}/tokenizer")
    scheduler().save_pretrained(f"{folder}/scheduler")
    vae = AutoencoderTiny.from_pretrained(vae_folder).half()
    vae.register_to_config(scaling_factor=scaling_factor)
    vae.save_pretrained(f"{folder}/vae")
    if os.path.exists(f"{vae_folder}/LICENSE"):
        shutil.copyfile(f"{vae_folder}/LICENSE", f"{folder}/vae/LICENSE")
    for part in ("unet", "vae"):
        without_origin(f"{folder}/{part}/config.json")
    with open(f"{folder}/model_index.json", "w") as f:
        f.write(json.dumps(INDEX, indent=2) + "\n")
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)
    if size > LIMIT:
        raise SystemExit(f"{folder} has {size} bytes, more than {LIMIT}")
    return size
