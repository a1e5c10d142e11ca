"""Renders portraits and encodes them: the training set.

usage: latents.py OUT --vae FOLDER [--count 40000] [--chunk 1000] [--size 128] [--workers N] [--first 0] [--float32]
Writes OUT/NNNNNN.safetensors, one per chunk of portraits first, first + 1, ... (`world.portrait(number)`): `latents`, half precision, (chunk, 4, size/8, size/8),
as the encoder gives them (not scaled). Captions need only the portrait's number, so attributes are not stored. Chunks that exist are kept: the command
can be stopped and started again, and run with a larger --count. The encoder runs in bfloat16 unless --float32 (difference: see `README.md`).
"""
import argparse
import os
import time
from multiprocessing import get_context

import numpy as np
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

import world


def encode(vae, images, batch=16):
    """Latents (n, 4, h/8, w/8) of images (n, h, w, 3) of bytes, float32."""
    dtype = next(vae.parameters()).dtype
    found = []
    for k in range(0, len(images), batch):
        x = torch.from_numpy(images[k:k + batch]).permute(0, 3, 1, 2).to(dtype) / 127.5 - 1
        found.append(vae.encode(x.contiguous(memory_format=torch.channels_last)).latents.float())
    return torch.cat(found).contiguous()


def load_vae(folder, dtype):
    return AutoencoderTiny.from_pretrained(folder, torch_dtype=dtype).to(memory_format=torch.channels_last).eval()


@torch.no_grad()
def make_chunk(job):
    """Renders and encodes one chunk with one thread: two processes of one thread are twice as fast as one of two."""
    path, numbers, size, folder, dtype = job
    torch.set_num_threads(1)
    images = np.stack([np.asarray(world.render(world.portrait(n), size)) for n in numbers])
    save_file({"latents": encode(load_vae(folder, dtype), images).half()}, path + ".part")
    os.replace(path + ".part", path)
    return numbers[-1] + 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--vae", required=True)
    p.add_argument("--count", type=int, default=40000)
    p.add_argument("--chunk", type=int, default=1000)
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--workers", type=int, default=os.cpu_count())
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--float32", action="store_true")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    begin = time.time()
    dtype = torch.float32 if a.float32 else torch.bfloat16
    jobs = [(f"{a.out}/{first:06d}.safetensors", range(first, first + a.chunk), a.size, a.vae, dtype) for first in range(a.first, a.first + a.count, a.chunk)]
    with get_context("spawn").Pool(a.workers) as pool:
        for done in pool.imap(make_chunk, [j for j in jobs if not os.path.exists(j[0])], chunksize=1):
            print(f"{done} portraits, {time.time() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
