"""Shapes in unit coordinates (0..1, y downwards) on a supersampled image, with a pose that moves and scales what follows."""
import math

import numpy as np
from PIL import Image, ImageDraw


def shade(colour, factor):
    """`colour` (RGB, 0..255) made darker (factor < 1) or lighter."""
    return tuple(max(0, min(255, int(c * factor))) for c in colour)


def mix(a, b, share):
    """The colour between `a` and `b` that holds `share` of `b`."""
    return tuple(int(x * (1 - share) + y * share) for x, y in zip(a, b))


class Canvas:
    def __init__(self, pixels):
        self.pixels = pixels
        self.image = Image.new("RGB", (pixels, pixels))
        self.pen = ImageDraw.Draw(self.image)
        self.pose(0, 0, 1)

    def pose(self, dx, dy, scale):
        """From now on coordinates are scaled about (.5, .55) and then moved by (dx, dy), all in widths."""
        self.dx, self.dy, self.scale = dx, dy, scale

    def x(self, x):
        return (.5 + (x - .5) * self.scale + self.dx) * self.pixels

    def y(self, y):
        return (.55 + (y - .55) * self.scale + self.dy) * self.pixels

    def width(self, w):
        return max(1, round(w * self.scale * self.pixels))

    def box(self, x0, y0, x1, y1):
        return [self.x(x0), self.y(y0), self.x(x1), self.y(y1)]

    def ellipse(self, cx, cy, rx, ry, fill):
        self.pen.ellipse(self.box(cx - rx, cy - ry, cx + rx, cy + ry), fill=fill)

    def rectangle(self, x0, y0, x1, y1, fill, radius=0):
        if radius:
            self.pen.rounded_rectangle(self.box(x0, y0, x1, y1), radius=self.width(radius), fill=fill)
        else:
            self.pen.rectangle(self.box(x0, y0, x1, y1), fill=fill)

    def polygon(self, points, fill):
        self.pen.polygon([(self.x(x), self.y(y)) for x, y in points], fill=fill)

    def sector(self, cx, cy, rx, ry, start, end, fill):
        """The part of an ellipse cut off by the chord between two angles (degrees, clockwise from the right)."""
        self.pen.chord(self.box(cx - rx, cy - ry, cx + rx, cy + ry), start, end, fill=fill)

    def line(self, points, width, fill):
        """A line with round ends and corners."""
        w = self.width(width)
        path = [(self.x(x), self.y(y)) for x, y in points]
        self.pen.line(path, fill=fill, width=w, joint="curve")
        for x, y in (path[0], path[-1]):
            self.pen.ellipse([x - w / 2, y - w / 2, x + w / 2, y + w / 2], fill=fill)

    def curve(self, cx, cy, rx, ry, start, end, width, fill):
        """An arc of an ellipse with round ends, angles in degrees clockwise from the right."""
        steps = [math.radians(start + (end - start) * k / 12) for k in range(13)]
        self.line([(cx + rx * math.cos(t), cy + ry * math.sin(t)) for t in steps], width, fill)

    def gradient(self, top, bottom):
        """Fills the picture with colours from `top` to `bottom`."""
        t = np.linspace(0, 1, self.pixels)[:, None, None]
        rows = (np.array(top) * (1 - t) + np.array(bottom) * t).astype(np.uint8)
        self.image.paste(Image.fromarray(np.broadcast_to(rows, (self.pixels, self.pixels, 3)).copy()))
