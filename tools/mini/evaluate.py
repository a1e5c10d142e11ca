"""Measures a checkpoint with the oracle: how well prompts are followed, and what one concept of Semantic Guidance does.

usage: evaluate.py CHECKPOINT ORACLE [--prompts 200] [--seeds 48] [--steps 30] [--guidance 5] [--sheet OUT.png] [--json OUT.json] [--only prompts|edits|sheet]
Prompts: portraits of the world that no training has seen are described by their subject and one to three phrases; the oracle must see what was said.
Edits: portraits of a woman, a man, a person, a cat, a dog and a robot, each with its own seeds; `success` counts those pictures without the attribute
before that have it after (plus), or with it before that lost it (minus, where the prompt asks for it); `others` is the share of the other attributes
whose value stayed; `pixels` is the mean change of a pixel, of 255.
"""
import argparse
import json
import random
import time

import torch
from PIL import Image

import captions
import oracle
import world
from sampler import Concept, Sampler

UNSEEN = 3_000_000
SUBJECTS = ("a woman", "a man", "a person", "a woman", "a man", "a cat", "a dog", "a robot")
FINE, THING, WHOLE = dict(strength=5, threshold=.9, warmup=5), dict(strength=6, threshold=.85, warmup=5), dict(strength=6, threshold=.6, warmup=3)
# text, group, value (None: any but "none"), how
EDITS = (
    ("glasses", "glasses", "glasses", FINE), ("sunglasses", "glasses", "sunglasses", FINE), ("smile", "mouth", "smile", FINE), ("frown", "mouth", "frown", FINE),
    ("open mouth", "mouth", "open", FINE), ("lipstick", "lipstick", True, FINE), ("freckles", "freckles", True, FINE), ("a beard", "beard", True, FINE),
    ("earrings", "earrings", True, FINE), ("a scarf", "scarf", True, FINE), ("a crown", "hat", "crown", FINE), ("a top hat", "hat", "top hat", FINE),
    ("a cap", "hat", "cap", FINE), ("a beanie", "hat", "beanie", FINE), ("old", "old", True, THING), ("long hair", "hair", "long", THING),
    ("curly hair", "hair", "curly", THING), ("bald", "hair", "bald", THING), ("at night", "place", "night", WHOLE), ("in a forest", "place", "forest", WHOLE),
    ("at the beach", "place", "beach", WHOLE), ("a pencil sketch", "style", "pencil sketch", WHOLE), ("sepia", "style", "sepia", WHOLE), ("neon", "style", "neon", WHOLE),
)
# what may change with a group and is no fault
RELATED = {"hat": ("accent", "hair"), "scarf": ("accent",), "hair": ("hair_colour",), "place": ("plain_colour",), "beard": ("hair_colour",),
           "style": ("clothes", "hair_colour", "accent", "lipstick", "plain_colour", "fur"), "mouth": (), "glasses": ()}
MINUS = (("glasses", "glasses", "glasses", "glasses"), ("sunglasses", "glasses", "sunglasses", "sunglasses"), ("smile", "mouth", "smile", "smile"),
         ("a beard", "beard", True, "beard"), ("a crown", "hat", "crown", "a crown"), ("earrings", "earrings", True, "earrings"), ("a scarf", "scarf", True, "a scarf"),
         ("lipstick", "lipstick", True, "lipstick"), ("freckles", "freckles", True, "freckles"), ("at night", "place", "night", "at night"))


def described(number, rng):
    """(prompt, [(group, expected value or None for any but none)]) for an unseen portrait."""
    a = world.portrait(number)
    true = captions.phrases(a, rng)
    chosen = [x for x in rng.sample(true, min(len(true), rng.randint(1, 3)))]
    age = dict(chosen).get("old")
    prompt = captions.sentence(f"a portrait of {captions.article(f'{age} ' + a['subject'] if age else a['subject'])}", [t for n, t in chosen if n != "old"], rng)
    expected = [("subject", a["subject"])]
    for name, text in chosen:
        if name != "hair" or a["hair"] == "bald" or a["hair"] in text:
            if name != "place" or a["place"] != "plain":
                expected.append((name, None if text == "a hat" else a[name]))
        colour = captions.COLOUR_OF.get(name)
        if colour and colour != name and a[colour] in text.split() and oracle.defined(a, colour) and not any(g == colour for g, _ in expected):
            expected.append((colour, a[colour]))
    styled = any(g == "style" for g, _ in expected)
    return prompt, [(g, v) for g, v in expected if not (styled and g in RELATED["style"])]


def agrees(seen, group, value, k):
    got = seen[group][k].item()
    return got != 0 if value is None else got == oracle.index(group, value)


def prompts(sampler, reader, count, steps, guidance):
    rng = random.Random(7)
    jobs = [described(UNSEEN + k, rng) for k in range(count)]
    seen = oracle.read(reader, sampler.draw([j[0] for j in jobs], list(range(count)), steps=steps, guidance=guidance))
    right, whole = {}, 0
    for k, (_, expected) in enumerate(jobs):
        results = [agrees(seen, g, v, k) for g, v in expected]
        whole += all(results)
        for (g, _), ok in zip(expected, results):
            right.setdefault(g, []).append(ok)
    table = {g: {"right": sum(r) / len(r), "of": len(r)} for g, r in sorted(right.items())}
    every = [ok for r in right.values() for ok in r]
    print(f"prompts: {len(every)} attributes of {count} prompts right {sum(every) / len(every):.3f}, all of a prompt {whole / count:.3f}")
    print("  " + ", ".join(f"{g} {t['right']:.2f} ({t['of']})" for g, t in table.items()), flush=True)
    return {"attributes": sum(every) / len(every), "whole": whole / count, "groups": table}


def kept(before, after, group, chosen):
    """Share of the attributes besides `group` and its relations that stayed, over the chosen pictures."""
    others = [g for g in oracle.GROUPS if g != group and g not in RELATED.get(group, ())]
    person = before["subject"] <= 1
    same = []
    for g in others:
        use = chosen & person if g == "hair" else chosen & ~person & (before["subject"] <= 3) if g == "fur" else chosen
        if g in ("accent", "hair_colour", "plain_colour"):
            continue    # often not visible at all
        same.append((before[g] == after[g])[use])
    return torch.cat(same).float().mean().item()


def edit(sampler, reader, texts, seeds, plain, before, concept, group, value, steps, guidance):
    target = oracle.index(group, value)
    people = before["subject"] <= 1
    has = before[group] == target
    chosen = (has if concept.minus else ~has) & (people if group == "hair" else torch.ones_like(has))
    if not chosen.any():
        return None
    pick = chosen.nonzero().flatten().tolist()
    pictures = sampler.draw([texts[k] for k in pick], [seeds[k] for k in pick], (concept,), steps, guidance)
    after = oracle.read(reader, pictures)
    part = {g: v[pick] for g, v in before.items()}
    done = (after[group] == target) != concept.minus
    return {"success": done.float().mean().item(), "of": len(pick), "others": kept(part, after, group, torch.ones(len(pick), dtype=torch.bool)),
            "pixels": (pictures - plain[pick]).abs().mean().item() * 255}


def edits(sampler, reader, count, steps, guidance, plus=EDITS, minus=MINUS):
    table = []
    texts, seeds = [f"a portrait of {SUBJECTS[k % len(SUBJECTS)]}" for k in range(count)], [10_000 + k for k in range(count)]
    plain = sampler.draw(texts, seeds, steps=steps, guidance=guidance)
    before = oracle.read(reader, plain)
    print("concept                        strength  threshold  success   of  others  pixels")
    for text, group, value, how in plus:
        table.append(report(edit(sampler, reader, texts, seeds, plain, before, Concept(text, **how), group, value, steps, guidance), Concept(text, **how)))
    for phrase, group, value, text in minus:
        concept = Concept(text, True, **(WHOLE if group == "place" else FINE))
        asked = [f"{t}, {phrase}" for t in texts]
        drawn = sampler.draw(asked, seeds, steps=steps, guidance=guidance)
        table.append(report(edit(sampler, reader, asked, seeds, drawn, oracle.read(reader, drawn), concept, group, value, steps, guidance), concept))
    for sign, name in ((False, "plus"), (True, "minus")):
        rows = [r for r in table if r and r["minus"] == sign]
        if rows:
            print(f"mean of {name}: success {sum(r['success'] for r in rows) / len(rows):.3f}, others {sum(r['others'] for r in rows) / len(rows):.3f}")
    return [r for r in table if r]


def report(row, concept):
    if row:
        row.update(text=concept.text, minus=concept.minus, strength=concept.strength, threshold=concept.threshold, warmup=concept.warmup)
        print(f"{'minus' if concept.minus else 'plus':5} {concept.text:24} {concept.strength:8} {concept.threshold:10} {row['success']:8.3f} {row['of']:4} {row['others']:7.3f} {row['pixels']:7.2f}", flush=True)
    return row


SHEET = ("a portrait of a woman", "a portrait of a man with glasses", "a portrait of a cat with a crown", "a portrait of a robot, at night", "a portrait of an old man with a beard, smiling",
         "a portrait of a dog with sunglasses, at the beach", "a portrait of a woman with long red hair, in a forest", "a pencil sketch", "a portrait of a woman, lipstick, earrings",
         "a portrait of a man with a top hat, frowning", "a portrait of a woman with freckles, open mouth", "a portrait of a robot with a beanie, a scarf", "a portrait of a man, sepia, smile",
         "a portrait of a woman, neon", "a portrait of a bald man, city", "a portrait of a cat, at sunset")
SHEET_EDITS = ("glasses", "sunglasses", "smile", "a crown", "a beard", "lipstick", "at night", "a pencil sketch")


def sheet(sampler, path, steps, guidance):
    """Rows: two of prompts, one of plain portraits, then the same portraits with one concept each."""
    rows = [sampler.draw(list(SHEET), [s + k for k in range(len(SHEET))], steps=steps, guidance=guidance) for s in (1, 101)]
    texts, seeds = [f"a portrait of {SUBJECTS[k % 8]}" for k in range(16)], list(range(500, 516))
    rows.append(sampler.draw(texts, seeds, steps=steps, guidance=guidance))
    for text in SHEET_EDITS:
        how = WHOLE if text in ("at night", "a pencil sketch") else FINE
        rows.append(sampler.draw(texts, seeds, (Concept(text, **how),), steps, guidance))
    all_rows = torch.cat([torch.cat(list(r), -1) for r in rows], -2)
    Image.fromarray((all_rows * 255).round().byte().permute(1, 2, 0).numpy()).save(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("oracle")
    p.add_argument("--prompts", type=int, default=200)
    p.add_argument("--seeds", type=int, default=48)
    p.add_argument("--steps", type=int, default=30)
    p.add_argument("--guidance", type=float, default=5.0)
    p.add_argument("--sheet")
    p.add_argument("--json")
    p.add_argument("--only", choices=("prompts", "edits", "sheet"))
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    begin = time.time()
    sampler, found = Sampler(a.checkpoint), {}
    if a.only in (None, "prompts"):
        found["prompts"] = prompts(sampler, oracle.load(a.oracle), a.prompts, a.steps, a.guidance)
    if a.only in (None, "edits"):
        found["edits"] = edits(sampler, oracle.load(a.oracle), a.seeds, a.steps, a.guidance)
    if a.sheet:
        sheet(sampler, a.sheet, a.steps, a.guidance)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(found, f, indent=1)
    print(f"{time.time() - begin:.0f} s")


if __name__ == "__main__":
    main()
