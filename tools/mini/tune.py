"""Looks for settings: every concept of a kind with each setting of a grid, on portraits that no claim is measured with.

usage: tune.py CHECKPOINT ORACLE [--kind face --kind object ...] [--concept "a scarf" ...] [--seeds 16] [--steps 20] [--guidance 5] [--strengths 4,6,8] [--thresholds .8,.9] [--warmups .0,.1,.2]
           [--minus] [--threads 1]
A line for each setting: the mean and the lowest success over the kind's concepts, the share of other attributes that stay, the mean change of a pixel (of 255).
The warm-up is a share of the steps. What is chosen goes into benches/claims/concepts.rs, and is measured there on other prompts and seeds.
"""
import argparse
import itertools

import torch

import evaluate
import oracle
from sampler import Concept, Sampler

KINDS = {
    "mouth": ("smile", "frown", "open mouth"), "face": ("lipstick", "freckles", "a beard"), "object": ("glasses", "sunglasses", "earrings", "a scarf"),
    "hat": ("a crown", "a top hat", "a cap", "a beanie"), "head": ("old", "long hair", "curly hair", "bald"), "place": ("at night", "in a forest", "at the beach"),
    "style": ("a pencil sketch", "sepia", "neon"),
}
# Of all kinds, as people write them; none of them is one that a claim is measured with.
TEXTS = (
    "a portrait of a young woman", "a portrait of a man in a forest", "a portrait of an old person", "a pencil sketch of a woman with long hair", "a cat at night",
    "a portrait of a man with glasses and a beard", "a robot at the beach", "a dog with a crown", "a woman with red hair, smile", "a sepia portrait of a bald man",
    "a young man with a cap", "a neon portrait of a robot", "a woman with freckles and lipstick", "a man with curly hair, open mouth",
    "an old woman with earrings in the city", "a cat with sunglasses",
)
WANTED = {text: (group, value) for text, group, value, _ in evaluate.EDITS}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    numbers = lambda text: [float(x) for x in text.split(",")]
    p.add_argument("checkpoint")
    p.add_argument("oracle")
    p.add_argument("--kind", action="append", choices=list(KINDS))
    p.add_argument("--concept", action="append", choices=list(WANTED), help="these alone, in place of whole kinds")
    p.add_argument("--seeds", type=int, default=16)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--guidance", type=float, default=5.0)
    p.add_argument("--strengths", type=numbers, default=[4, 6, 8])
    p.add_argument("--thresholds", type=numbers, default=[.8, .9])
    p.add_argument("--warmups", type=numbers, default=[.0, .1, .2])
    p.add_argument("--minus", action="store_true")
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    sampler, reader = Sampler(a.checkpoint), oracle.load(a.oracle)
    texts, seeds = [TEXTS[k % len(TEXTS)] for k in range(a.seeds)], [20_000 + k for k in range(a.seeds)]

    def drawn(prompts):
        pictures = sampler.draw(prompts, seeds, steps=a.steps, guidance=a.guidance)
        return pictures, oracle.read(reader, pictures)
    plain = None if a.minus else drawn(texts)
    kinds = {"chosen": tuple(a.concept)} if a.concept else {kind: KINDS[kind] for kind in a.kind or KINDS}
    for kind, concepts in kinds.items():
        asked = {t: ([f"{x}, {t}" for x in texts], *drawn([f"{x}, {t}" for x in texts])) if a.minus else (texts, *plain) for t in concepts}
        print(f"{kind}: strength threshold warm-up   mean lowest others pixels   each", flush=True)
        for strength, threshold, warmup in itertools.product(a.strengths, a.thresholds, a.warmups):
            found = {}
            for text, (prompts, pictures, before) in asked.items():
                concept = Concept(text, a.minus, strength, threshold, round(warmup * a.steps))
                found[text] = evaluate.edit(sampler, reader, prompts, seeds, pictures, before, concept, *WANTED[text], a.steps, a.guidance)
            rows = [r for r in found.values() if r]
            mean = lambda key: sum(r[key] for r in rows) / len(rows)
            each = ", ".join(f"{t} {r['success']:.2f} ({r['of']})" for t, r in found.items() if r)
            print(f"{kind:8}{strength:6} {threshold:8} {warmup:7}   {mean('success'):.3f}  {min(r['success'] for r in rows):.3f}  {mean('others'):.3f}  {mean('pixels'):5.2f}   {each}", flush=True)


if __name__ == "__main__":
    main()
