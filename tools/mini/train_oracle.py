"""Trains the oracle on fresh portraits and prints how often it is right on unseen ones.

usage: train_oracle.py FOLDER --vae FOLDER [--count 16000] [--decoded 6000] [--iterations 4000] [--test 2000] [--check]
Half of what it sees is rendered, half has gone through the autoencoder (`--decoded` different ones), each with a little noise, blur and change of brightness,
shifted and mirrored, so that it also reads what a diffusion model paints. Portraits from FIRST on are the training's, from UNSEEN on the test's; the diffusion model has neither.
Writes FOLDER/oracle.safetensors, oracle.json and accuracy.json. --check only measures the oracle that is in FOLDER.
"""
import argparse
import json
import math
import os
import random
import time
from multiprocessing import get_context

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn import functional

import oracle
import world

FIRST, UNSEEN = 1_000_000, 2_000_000
BATCH, RATE, SHIFT = 64, 1.5e-3, 3


def picture(number):
    return np.asarray(world.render(world.portrait(number), oracle.SIZE))


def pictures(numbers, workers):
    """Rendered pictures (n, 3, 128, 128), bytes."""
    with get_context("fork").Pool(workers) as pool:
        return torch.from_numpy(np.stack(pool.map(picture, numbers, chunksize=100))).permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def decoded(vae, images, batch=16):
    """What the autoencoder makes of pictures; bytes in, bytes out."""
    found = []
    for k in range(0, len(images), batch):
        x = (images[k:k + batch].to(torch.bfloat16) / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        y = vae.decode(vae.encode(x).latents).sample.float()
        found.append(((y.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8))
    return torch.cat(found).contiguous()


def targets(numbers):
    return torch.tensor([oracle.targets(world.portrait(n)) for n in numbers])


def moved(x, generator):
    """Each picture shifted by up to SHIFT pixels, and half of them mirrored: no attribute depends on either, and an oracle that has seen a few thousand
    portraits without them knows those by heart."""
    size = x.shape[-1]
    wide = functional.pad(x, (SHIFT,) * 4, mode="replicate")
    places = torch.randint(0, 2 * SHIFT + 1, (len(x), 2), generator=generator).tolist()
    mirrored = (torch.rand(len(x), generator=generator) < .5).tolist()
    cut = [w[:, top:top + size, left:left + size] for w, (top, left) in zip(wide, places)]
    return torch.stack([c.flip(-1) if m else c for c, m in zip(cut, mirrored)])


def disturb(x, generator):
    """Place, noise, blur, brightness and contrast, each of its own strength for every picture; half the pictures keep nearly their colours and lines."""
    def draw(low, high):
        return torch.rand(len(x), 1, 1, 1, generator=generator) * (high - low) + low
    x = moved(x, generator)
    blur = draw(-.6, .9).clamp(min=0)
    x = x * (1 - blur) + functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1) * blur
    x = (x - .5) * draw(.85, 1.15) + .5 + draw(-.06, .06)
    return (x + torch.randn(x.shape, generator=generator) * draw(-.05, .06).clamp(min=0)).clamp(0, 1)


def loss_of(logits, y):
    losses = [functional.cross_entropy(l, y[:, k], ignore_index=-1) for k, l in enumerate(oracle.split(logits).values())]
    return sum(l for l in losses if not l.isnan()) / len(losses)


def accuracy(net, images, y):
    """Group -> share of defined values that are read right."""
    seen = oracle.read(net, images.float() / 255)
    return {g: (seen[g] == y[:, k])[y[:, k] >= 0].float().mean().item() for k, g in enumerate(oracle.GROUPS)}


def check(net, vae, count, workers, folder):
    numbers = range(UNSEEN, UNSEEN + count)
    images, y = pictures(numbers, workers), targets(numbers)
    table = {"rendered": accuracy(net, images, y), "decoded": accuracy(net, decoded(vae, images), y), "count": count}
    print(f"{'attribute':14} rendered  decoded   (unseen portraits: {count})")
    for g in oracle.GROUPS:
        print(f"{g:14} {table['rendered'][g]:8.4f} {table['decoded'][g]:8.4f}")
    with open(f"{folder}/accuracy.json", "w") as f:
        json.dump(table, f, indent=1)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder")
    p.add_argument("--vae", required=True)
    p.add_argument("--count", type=int, default=16000)
    p.add_argument("--decoded", type=int, default=6000)
    p.add_argument("--iterations", type=int, default=4000)
    p.add_argument("--test", type=int, default=2000)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--check", action="store_true")
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    vae = AutoencoderTiny.from_pretrained(a.vae, torch_dtype=torch.bfloat16).to(memory_format=torch.channels_last).eval()
    if a.check:
        return check(oracle.load(a.folder), vae, a.test, a.threads, a.folder)
    begin = time.time()
    numbers = range(FIRST, FIRST + a.count)
    images, y = pictures(numbers, a.threads), targets(numbers)
    through = decoded(vae, images[:a.decoded])
    print(f"pictures: {time.time() - begin:.0f} s", flush=True)
    net, generator, rng = oracle.Oracle().to(memory_format=torch.channels_last), torch.Generator().manual_seed(0), random.Random(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=2e-3, fused=True)
    for k in range(a.iterations):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (k + 1) / 100) * (.5 * (1 + math.cos(math.pi * k / a.iterations)) + .005)
        half = [rng.randrange(a.count) for _ in range(BATCH // 2)], [rng.randrange(a.decoded) for _ in range(BATCH // 2)]
        x = disturb(torch.cat([images[half[0]], through[half[1]]]).float() / 255, generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = net(x.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), y[half[0] + half[1]])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        if k % 200 == 199:
            print(f"{k + 1} iterations, {time.time() - begin:.0f} s, loss {loss.item():.4f}", flush=True)
    os.makedirs(a.folder, exist_ok=True)
    oracle.save(net, a.folder)
    check(oracle.load(a.folder), vae, a.test, a.threads, a.folder)


if __name__ == "__main__":
    main()
