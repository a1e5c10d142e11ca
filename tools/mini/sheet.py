"""A contact sheet of the world: portraits, and below each what the autoencoder leaves of it.

usage: sheet.py OUT.png [--vae FOLDER] [--rows 4] [--size 128] [--first 0]
"""
import argparse

import numpy as np
import torch
from PIL import Image

import world


def roundtrip(images, folder):
    """What the autoencoder in `folder` makes of PIL images."""
    from diffusers import AutoencoderTiny
    vae = AutoencoderTiny.from_pretrained(folder)
    x = torch.tensor(np.stack([np.asarray(i) for i in images])).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        y = vae.decode(vae.encode(x).latents).sample
    return [Image.fromarray(p) for p in ((y.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1).byte().numpy()]


def tile(images, columns):
    """PIL images of one size, row by row."""
    size = images[0].width
    sheet = Image.new("RGB", (columns * size, -(-len(images) // columns) * size))
    for k, image in enumerate(images):
        sheet.paste(image, (k % columns * size, k // columns * size))
    return sheet


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--vae")
    p.add_argument("--rows", type=int, default=4)
    p.add_argument("--columns", type=int, default=10)
    p.add_argument("--size", type=int, default=128)
    p.add_argument("--first", type=int, default=0)
    a = p.parse_args()
    images = [world.render(world.portrait(a.first + k), a.size) for k in range(a.rows * a.columns)]
    rows = []
    decoded = roundtrip(images, a.vae) if a.vae else None
    for r in range(a.rows):
        rows += images[r * a.columns:(r + 1) * a.columns]
        if decoded:
            rows += decoded[r * a.columns:(r + 1) * a.columns]
    tile(rows, a.columns).save(a.out)


if __name__ == "__main__":
    main()
