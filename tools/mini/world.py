"""The world that mini draws: portraits with named attributes, their frequencies, and the renderer's front door.

Decisions
- A portrait is a dictionary of attributes (`sample`), and its picture follows from that dictionary alone (`render`): nothing is hidden but `skin` and
  `pose`, which captions never mention.
- Attributes are drawn independently of one another, so that an edit of one need not move another. Women have beards, men wear lipstick and earrings, robots
  grow old, cats wear glasses. The exceptions: only people have hair on the head and a skin colour; only cats and dogs have fur; a plain background has a
  colour and a place has none. A beard has the hair's colour, also where there is no hair. A cap, a beanie and a scarf share one colour, `accent`.
- Woman and man differ by drawn features of their own: outline of the face (narrow chin, square jaw), lashes, brows (thin arches, thick bars), shoulders.
- Old is white bushy brows, lines on the forehead and lines beside the mouth, on everybody; hair keeps its colour.
- Every feature is at least one and a half latent cells wide (8 pixels of 128 to a cell): the autoencoder loses thin lines, and a small network learns
  large marks first.
- Nothing varies that no caption can name, except four skins and a few hundredths of shift and scale: places and styles have one layout each.
- Frequencies are balanced: what is rare is learned late.
"""
import random

from PIL import Image

import features
import places
import styles
from canvas import Canvas

SUBJECTS = {"woman": .30, "man": .30, "cat": .14, "dog": .13, "robot": .13}
HAIR = {"short": .30, "long": .28, "curly": .24, "bald": .18}
GLASSES = {"none": .40, "glasses": .31, "sunglasses": .29}
MOUTH = {"neutral": .28, "smile": .28, "frown": .22, "open": .22}
HAT = {"none": .48, "cap": .13, "top hat": .13, "crown": .13, "beanie": .13}
PLACE = {"plain": .45, "night": .11, "forest": .11, "city": .11, "beach": .11, "sunset": .11}
STYLE = {"none": .76, "pencil sketch": .08, "sepia": .08, "neon": .08}
PRESENCE = {"beard": .30, "earrings": .32, "scarf": .32, "old": .30, "freckles": .30, "lipstick": .30}

PEOPLE = ("woman", "man")
FURRY = ("cat", "dog")
HAIR_COLOURS = tuple(features.HAIR_COLOURS)
CLOTHES_COLOURS = tuple(features.CLOTHES_COLOURS)
ACCENT_COLOURS = tuple(features.ACCENT_COLOURS)
FUR_COLOURS = tuple(features.FUR_COLOURS)
PLAIN_COLOURS = tuple(places.PLAIN_COLOURS)

SHIFT = .012      # of the picture's width, either way
SCALE = .03       # of the figure's size, either way


def pick(rng, weights):
    """One key of `weights` (key -> probability)."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]


def sample(rng):
    """Attributes of one portrait, from a `random.Random`. Values are strings, booleans (PRESENCE), an index (skin) and three floats (pose)."""
    a = {
        "subject": pick(rng, SUBJECTS), "hair": pick(rng, HAIR), "hair_colour": rng.choice(HAIR_COLOURS),
        "skin": rng.randrange(len(features.SKINS)), "fur": rng.choice(FUR_COLOURS),
        "glasses": pick(rng, GLASSES), "mouth": pick(rng, MOUTH), "hat": pick(rng, HAT), "accent": rng.choice(ACCENT_COLOURS),
        "clothes": rng.choice(CLOTHES_COLOURS), "place": pick(rng, PLACE), "plain_colour": rng.choice(PLAIN_COLOURS), "style": pick(rng, STYLE),
    }
    for name, share in PRESENCE.items():
        a[name] = rng.random() < share
    a["pose"] = (rng.uniform(-SHIFT, SHIFT), rng.uniform(-SHIFT, SHIFT), 1 + rng.uniform(-SCALE, SCALE))
    return a


def is_person(a):
    return a["subject"] in PEOPLE


def portrait(seed):
    """Attributes of portrait number `seed`: the same on every machine."""
    return sample(random.Random(seed))


def render(a, size=128, supersampling=3):
    """The picture of attributes `a`: an RGB image of `size` x `size` pixels."""
    canvas = Canvas(size * supersampling)
    places.draw(canvas, a)
    canvas.pose(*a["pose"])
    features.draw(canvas, a)
    image = canvas.image.resize((size, size), Image.Resampling.BOX)
    return styles.apply(image, a["style"])
