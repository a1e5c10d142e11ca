"""Checks the world, the captions and the tokenizer: `check.py` says what it checked, or fails.

Needs numpy and pillow; the tokenizer is also compared with transformers' where that is installed.
"""
import random
import re
import tempfile
from collections import Counter

import numpy as np

import captions
import world

COUNT = 4000


def check_world():
    assert world.portrait(5) == world.portrait(5), "a portrait follows from its number"
    a = world.portrait(5)
    assert (np.asarray(world.render(a)) == np.asarray(world.render(a))).all(), "a picture follows from its portrait"
    assert world.render(a, 256).size == (256, 256)
    portraits = [world.portrait(k) for k in range(COUNT)]
    for name, weights in (("subject", world.SUBJECTS), ("glasses", world.GLASSES), ("mouth", world.MOUTH), ("hat", world.HAT), ("place", world.PLACE), ("style", world.STYLE)):
        seen = Counter(p[name] for p in portraits)
        assert abs(sum(weights.values()) - 1) < 1e-9, name
        for value, share in weights.items():
            assert abs(seen[value] / COUNT - share) < .03, (name, value)
    for one in world.PRESENCE:     # independent: as often with a value of another attribute as without
        for subject in world.SUBJECTS:
            some = [p[one] for p in portraits if p["subject"] == subject]
            assert abs(sum(some) / len(some) - world.PRESENCE[one]) < .08, (one, subject)


def check_captions():
    rng = random.Random(0)
    texts = [captions.caption(world.portrait(k), rng) for k in range(COUNT * 5)]
    count = Counter(texts)
    vowel, consonant = re.compile(r"\ba [aeiou]"), re.compile(r"\ban [^aeiou]")
    for text in count:
        assert not vowel.search(text) and not consonant.search(text), text
        assert "with wearing" not in text and "{" not in text and "  " not in text, text
        assert captions.tokens(text) <= captions.LIMIT, text
    assert abs(count[""] / len(texts) - captions.EMPTY) < .01
    missing = [p for p in captions.vocabulary() if not count[p]]
    assert not missing, f"never alone: {missing}"
    known = {w for p in captions.vocabulary() for w in p.split()}
    for phrase in ("glasses", "wearing glasses", "sunglasses", "smile", "smiling", "a beard", "a crown", "at night", "a pencil sketch", "a woman", "a person"):
        assert count[phrase] > 5, phrase
    return len(known)


def check_true():
    """What a caption says is so: a colour or value in a phrase is the portrait's."""
    rng = random.Random(1)
    for k in range(COUNT):
        a = world.portrait(k)
        for name, text in captions.phrases(a, rng):
            assert a[name] not in (False, "none", "neutral") or name == "old", (name, text)
            for colour in set(text.split()) & {"blond", "brown", "orange", "pink", "purple", "yellow"}:
                assert colour == a[captions.COLOUR_OF[name]], (text, a)


def check_tokenizer():
    import tokenizer
    encode, rng = tokenizer.encoder(), random.Random(2)
    texts = [captions.caption(world.portrait(k), rng) for k in range(2000)] + ["Xylophones!  and 12 ducks", "portrait " * 40]
    for text in texts[:-2]:
        assert encode(text).index(1) == captions.tokens(text) + 1, text
    try:
        from transformers import CLIPTokenizer
    except ImportError:
        return "alone"
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.write(folder)
        theirs = CLIPTokenizer.from_pretrained(folder)
        for text in texts:
            assert theirs(text, padding="max_length", max_length=tokenizer.LENGTH, truncation=True).input_ids == encode(text), text
    return "equal to transformers'"


if __name__ == "__main__":
    check_world()
    known = check_captions()
    check_true()
    print(f"world, captions ({known} words, {len(captions.vocabulary())} phrases), tokenizer ({check_tokenizer()}): right")
