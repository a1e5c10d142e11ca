"""Captions: what can be said of a portrait, in the words that the model learns.

A caption is empty, one phrase alone, a subject alone, or a subject with some or all of the true phrases. What is absent is never mentioned, but for "young"
(not old). A style is always mentioned beside a subject, so that a prompt that asks for none gets none. Every phrase also occurs alone, so that it can serve as the text of a concept. `phrases` and `PHRASES` are the whole vocabulary.
"""
import world

EMPTY, ALONE, SUBJECT_ALONE = .10, .20, .06      # shares of captions; the others have a subject and phrases
LIMIT = 30                                        # tokens, without start and end
KEEP = (.15, .4, .75, 1.0)                        # how many of the true phrases a long caption holds, each as often

# attribute -> value -> (phrase, weight); {} is a colour. Colours of things that few portraits have are said often: said as seldom as the things are worn, they are not learned
PHRASES = {
    "beard": {True: {"a beard": 3, "beard": 1, "a {} beard": 3}},
    "earrings": {True: {"earrings": 2, "gold earrings": 1, "wearing earrings": 1}},
    "freckles": {True: {"freckles": 1}},
    "lipstick": {True: {"lipstick": 1, "red lipstick": 1, "wearing lipstick": .5}},
    "old": {True: {"old": 1}, False: {"young": .3}},
    "glasses": {"glasses": {"glasses": 2, "wearing glasses": 1}, "sunglasses": {"sunglasses": 2, "wearing sunglasses": 1}},
    "mouth": {"smile": {"smile": 1, "a smile": .6, "smiling": 1, "a happy smile": .5}, "frown": {"frown": 1, "a frown": .6, "frowning": 1, "a sad frown": .5},
              "open": {"open mouth": 1, "an open mouth": .6, "surprised": 1}},
    "hat": {"cap": {"a cap": 2, "a {} cap": 5, "a hat": .6}, "top hat": {"a top hat": 3, "a black top hat": 1, "a hat": .6},
            "crown": {"a crown": 3, "a golden crown": 1}, "beanie": {"a beanie": 2, "a {} beanie": 5, "a hat": .6}},
    "scarf": {True: {"a scarf": 2, "a {} scarf": 4}},
    "clothes": {c: {"{} clothes": 1, "a {} shirt": 1} for c in world.CLOTHES_COLOURS},
    "place": {"plain": {"{} background": 2, "a {} background": 1}, "night": {"night sky": 1, "at night": 2, "stars": .7}, "forest": {"forest": .7, "in a forest": 2, "trees": .7},
              "city": {"city": .7, "in a city": 2, "buildings": .7}, "beach": {"beach": .7, "at the beach": 2, "the sea": .5}, "sunset": {"sunset": 1, "at sunset": 2}},
    "style": {"pencil sketch": {"pencil sketch": 1, "a pencil sketch": 2, "black and white drawing": .7}, "sepia": {"sepia": 2, "an old sepia photograph": 1},
              "neon": {"neon": 1.5, "neon lights": 1.5}},
    "hair": {"bald": {"bald": 2, "a bald head": 1}, **{h: {f"{h} hair": 1, h + " {} hair": 1.2, "{} hair": .8} for h in ("short", "long", "curly")}},
}
COLOUR_OF = {"beard": "hair_colour", "hair": "hair_colour", "hat": "accent", "scarf": "accent", "clothes": "clothes", "place": "plain_colour"}
# phrases that read well after "with"; the others follow a comma
AFTER_WITH = ("a ", "an ", "glasses", "sunglasses", "freckles", "lipstick", "earrings", "gold", "red lip", "short", "long", "curly")


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def phrase(a, name, rng):
    """One phrase for attribute `name` of portrait `a`, or None where nothing is said of it."""
    if name == "hair" and not world.is_person(a):
        return None
    options = PHRASES[name].get(a[name])
    if not options or sum(options.values()) < 1 and rng.random() >= sum(options.values()):
        return None
    text = rng.choices(list(options), weights=list(options.values()))[0]
    if "{}" in text:
        colour = a[COLOUR_OF[name]]
        text = text.replace("a {}", article(colour)) if text.startswith("a {}") else text.replace("{}", colour)
    return text


def phrases(a, rng):
    """(attribute, phrase) for what is true of `a`, in the order of PHRASES."""
    found = [(name, phrase(a, name, rng)) for name in PHRASES]
    return [(name, text) for name, text in found if text]


def noun(a, age, rng):
    """The subject with its article: "an old woman", "a person", "a gray cat"."""
    word = a["subject"]
    if world.is_person(a) and rng.random() < .25:
        word = "person"
    elif a["subject"] in world.FURRY and rng.random() < .4:
        word = f"{a['fur']} {word}"
    return article(f"{age} {word}" if age else word)


def caption(a, rng):
    """One caption for portrait `a`, from a `random.Random`."""
    kind = rng.random()
    if kind < EMPTY:
        return ""
    true = phrases(a, rng)
    if kind < EMPTY + ALONE:
        return rng.choice([text for name, text in true if name != "clothes" or rng.random() < .4] or [noun(a, None, rng)])
    share = 0 if kind < EMPTY + ALONE + SUBJECT_ALONE else rng.choice(KEEP)
    kept = [x for x in true if x[0] == "style" or rng.random() < share]
    age = dict(kept).get("old")
    rest = [text for name, text in kept if name != "old"]
    rng.shuffle(rest)
    return sentence(opening(noun(a, age, rng), rng), rest, rng)


def opening(subject, rng):
    form = rng.choices(("a portrait of {}", "{}", "a picture of {}", "an image of {}", "portrait of {}"), weights=(5, 3, 1, 1, 1))[0]
    return form.format(subject)


def sentence(start, rest, rng):
    """`start`, then phrases: one after "with" where it reads well (or "and" before the last), the others after commas."""
    if rest and rest[0].startswith(AFTER_WITH) and "sketch" not in rest[0] and "photograph" not in rest[0] and rng.random() < .6:
        start, rest = f"{start} with {rest[0]}", rest[1:]
    while rest and tokens(", ".join([start, *rest])) > LIMIT:
        rest = rest[:-1]
    return ", ".join([start, *rest])


def tokens(text):
    """How many tokens `text` has: every word of the vocabulary is one, and so is a comma."""
    return len(text.replace(",", " ,").split())


def vocabulary():
    """Every phrase and subject, once: for tests, the tokenizer and the card."""
    colours = {"hair_colour": world.HAIR_COLOURS, "accent": world.ACCENT_COLOURS, "clothes": world.CLOTHES_COLOURS, "plain_colour": world.PLAIN_COLOURS}
    found = []
    for name, values in PHRASES.items():
        for value, options in values.items():
            for text in options:
                if "{}" not in text:
                    found.append(text)
                    continue
                for colour in [value] if name == "clothes" else colours[COLOUR_OF[name]]:
                    found.append(text.replace("a {}", article(colour)) if text.startswith("a {}") else text.replace("{}", colour))
    found += [article(s) for s in (*world.SUBJECTS, "person")] + [article(f"{f} {s}") for f in world.FUR_COLOURS for s in world.FURRY]
    return list(dict.fromkeys(found))
