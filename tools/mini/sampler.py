"""Draws many pictures at once with a checkpoint, with or without Semantic Guidance: DDIM, eta 0, no momentum.

The rule for a concept with estimate e_c, unconditional estimate e_u: psi = +-(e_c - e_u); where |psi| is below its `threshold` quantile, taken for each
picture and latent channel, nothing; elsewhere `strength` * psi is added to the estimate from step `warmup` on.
"""
import math
from dataclasses import dataclass

import torch
from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

import model


@dataclass(frozen=True)
class Concept:
    text: str
    minus: bool = False
    strength: float = 5
    threshold: float = .9
    warmup: int = 5


class Sampler:
    def __init__(self, folder, dtype=torch.bfloat16):
        self.dtype = dtype
        self.unet = UNet2DConditionModel.from_pretrained(f"{folder}/unet", torch_dtype=dtype).eval()
        self.unet.set_attn_processor(model.PlainAttention())
        self.text = CLIPTextModel.from_pretrained(f"{folder}/text_encoder", torch_dtype=dtype).eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(f"{folder}/tokenizer")
        self.vae = AutoencoderTiny.from_pretrained(f"{folder}/vae", torch_dtype=dtype).to(memory_format=torch.channels_last).eval()
        self.scheduler = DDIMScheduler.from_pretrained(f"{folder}/scheduler")
        self.side = self.unet.config.sample_size

    def encode(self, texts):
        ids = self.tokenizer(list(texts), padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True, return_tensors="pt").input_ids
        return self.text(ids)[0]

    def noise(self, seed):
        return torch.randn(4, self.side, self.side, generator=torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def draw(self, prompts, seeds, concepts=(), steps=30, guidance=5.0, batch=32):
        """Pictures (n, 3, height, width) in 0..1, one for each prompt and seed, all with the same concepts."""
        return torch.cat([self.draw_batch(prompts[k:k + batch], seeds[k:k + batch], concepts, steps, guidance) for k in range(0, len(prompts), batch)])

    def draw_batch(self, prompts, seeds, concepts, steps, guidance):
        n = len(prompts)
        z = torch.stack([self.noise(s) for s in seeds])
        empty, wanted = self.encode([""]).expand(n, -1, -1), self.encode(prompts)
        edits = [self.encode([c.text]).expand(n, -1, -1) for c in concepts]
        self.scheduler.set_timesteps(steps)
        for i, t in enumerate(self.scheduler.timesteps):
            live = [k for k, c in enumerate(concepts) if i >= c.warmup and c.strength]
            rows = torch.cat([empty, wanted, *(edits[k] for k in live)])
            estimates = self.unet(z.to(self.dtype).repeat(2 + len(live), 1, 1, 1), t, encoder_hidden_states=rows, return_dict=False)[0].float().chunk(2 + len(live))
            e = estimates[0] + guidance * (estimates[1] - estimates[0])
            for k, found in zip(live, estimates[2:]):
                e = e + guided(found - estimates[0], concepts[k])
            z = self.scheduler.step(e, t, z, eta=0.0).prev_sample
        z = (z / self.vae.config.scaling_factor).to(self.dtype).contiguous(memory_format=torch.channels_last)
        return torch.cat([(self.vae.decode(z[k:k + 8]).sample.float() / 2 + .5).clamp(0, 1) for k in range(0, n, 8)])


def guided(psi, concept):
    """What a concept adds to the noise estimate (n, 4, h, w)."""
    flat = psi.abs().flatten(2)
    rank = math.ceil(concept.threshold * (flat.shape[-1] - 1)) + 1
    eta = flat.kthvalue(rank, -1).values[..., None, None]
    return torch.where(psi.abs() >= eta, psi, 0) * (-concept.strength if concept.minus else concept.strength)
