"""Styles: what becomes of a finished picture. Line widths follow the picture's size."""
import numpy as np
from PIL import Image, ImageFilter


def apply(image, style):
    return {"none": lambda i: i, "pencil sketch": pencil_sketch, "sepia": sepia, "neon": neon}[style](image)


def contours(image):
    """Edges between areas as an array (height, width, 1) in 0..1: lines of about 2.5 pixels of 128."""
    size = max(3, round(image.width / 128 * 3.4) | 1)
    wide = np.asarray(image.filter(ImageFilter.MaxFilter(size)), np.float32)
    narrow = np.asarray(image.filter(ImageFilter.MinFilter(size)), np.float32)
    return np.clip((wide - narrow).max(-1, keepdims=True) / 255 * 1.8 - .12, 0, 1)


def brightness(image):
    return np.asarray(image.convert("L"), np.float32)[..., None] / 255


def picture(array):
    return Image.fromarray((np.clip(array, 0, 1) * 255).astype(np.uint8))


def pencil_sketch(image):
    """Grays on light paper, with dark outlines."""
    tone = .45 + .53 * brightness(image)
    return picture(np.repeat(tone * (1 - .85 * contours(image)), 3, -1))


def sepia(image):
    """One brown ink from dark to cream."""
    return picture(brightness(image) * np.array([.88, .72, .48]) + np.array([.10, .06, .02]))


def neon(image):
    """Dark, with glowing outlines: cyan above, magenta below."""
    down = np.linspace(0, 1, image.height, dtype=np.float32)[:, None, None]
    glow = np.array([.15, 1, 1]) * (1 - down) + np.array([1, .2, .9]) * down
    return picture(brightness(image) * np.array([.34, .20, .52]) + np.array([.03, .01, .09]) + contours(image) * glow)
