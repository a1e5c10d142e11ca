"""Writes how transformers' CLIPTokenizer cuts odd texts into tokens: tests/reference/tokenizer/.

usage: tokenizer.py VOCABULARY            (with the interpreter that setup.sh makes)
       tokenizer.py --model FOLDER FILE   the same texts with the tokenizer of any checkpoint, for a check by hand
VOCABULARY is a folder with CLIP's vocab.json and merges.txt. Their first pairs become reduced/vocab.json and reduced/merges.txt, small enough to keep.
texts.json holds the texts, and each other file what becomes of them: the tokenizer's own settings (`config`, `special`: the files
tokenizer_config.json and special_tokens_map.json, or null), the length, and per text the tokens without the padding at the end, and what is cut off.
"""
import argparse, json, pathlib, random, shutil, tempfile
from transformers import CLIPTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "tests" / "reference" / "tokenizer"
PAIRS = 600
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def texts():
    odd = [
        "", " ", "\n", "\t \r\n ", "a", "A portrait of a WOMAN with Glasses", "a portrait of a woman, smiling, at night", "  leading and trailing  ",
        "two\nlines", "tabs\tand\u00a0no-break\u3000ideographic\u2009thin spaces", "zero\u200bwidth\u200djoiner\ufeffmark", "next\u0085line \u2028 \u2029 \u180e \x1c\x1d\x1f",
        "it's isn't we're I've I'm she'll he'd IT'S DON'T", "'s't're've'm'll'd", "rock'n'roll's ''' 'sad 'till", "\u2019s it\u2019s \u201cquoted\u201d",
        "1234567890", "3.14159 1,000 50% 4k 8K 1girl 2024-11-24", "\u0661\u0662\u0663 \u00bd \u00b2 \u2163 \u2460",
        "!", "!!!", "wow! really?! yes!", "a!b!c", "...", "--- *** ### @user #tag", "(masterpiece:1.2), [best], {quality}, <lora:x:1>", "a_b-c/d\\e|f&g=h+i~j`k^l$",
        END, BEGIN, "before<|endoftext|>after", "before <|endoftext|> after <|startoftext|>", "<|ENDOFTEXT|>", "<|EndOfText|> x", "<|endoftext", "<| endoftext |>", "!<|endoftext|>!",
        "caf\u00e9 cafe\u0301 na\u00efve \u00c5ngstr\u00f6m A\u030angstro\u0308m", "STRASSE Stra\u00dfe \u1e9e", "\u0130stanbul \u0131 I i\u0307", "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3 \u03bf\u03b4\u03c5\u03c3\u03c3\u03b5\u03c5\u03c2 \u03a3",
        "\u041f\u043e\u0440\u0442\u0440\u0435\u0442 \u0436\u0435\u043d\u0449\u0438\u043d\u044b", "\u5973\u4eba\u306e\u8096\u50cf\u753b", "\uc5ec\uc790\uc758 \ucd08\uc0c1\ud654", "\u0635\u0648\u0631\u0629 \u0627\u0645\u0631\u0623\u0629", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
        "\U0001f600", "cat \U0001f431 and dog \U0001f436!", "\U0001f469\u200d\U0001f4bb \U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea \u2764\ufe0f", "\ufb01ne \u2126 \u212b \u01c5 \U0001d400\U0001d401 \uff21\uff22", "\u00ad soft\u00adhyphen \u0000nul \x07bell \x7f",
        "a\u0300\u0301\u0302\u0303 z\u0351\u0352", "\U000e0041 \U0010ffff \ufffd \ue000", "</w> a</w> \u0120 \u00c2", "pneumonoultramicroscopicsilicovolcanoconiosis", "x" * 300, "a woman and " * 40, "1" * 100, "! " * 90,
        "a portrait of a person with a beard, glasses, a top hat, a red scarf, at the beach, a pencil sketch, old, freckles, and, at the very end, a crown  \n",
        "\u5973\u4eba\u306e" * 30, "\U0001f431" * 40, "word " * 29 + "last two", "word " * 30 + "last", "word " * 74 + "fit", "word " * 75 + "over",
    ]
    chance = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 '!.,-<|>\n\u00e9\u00df\u03a3\u0301\u200d\u00a0\u4e2d\U0001f600\u0130"
    odd += ["".join(chance.choice(letters) for _ in range(chance.randrange(1, 40))) for _ in range(20)]
    return odd


def reference(folder, limit=None):
    """What becomes of the texts. `limit`: the text encoder's number of positions, where the tokenizer names no length."""
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    length = min(tokenizer.model_max_length, limit or 77)
    ids, dropped = [], []
    for text in texts():
        full = tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids
        assert len(full) == length
        while len(full) > 1 and full[-1] == tokenizer.pad_token_id and full[-2] in (tokenizer.pad_token_id, tokenizer.eos_token_id):
            full.pop()
        ids.append(full)
        whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        over = whole.offset_mapping[length - 2:]
        dropped.append(text[over[0][0]:] if over else None)
    read = lambda name: json.loads((folder / name).read_text()) if (folder / name).exists() else None
    settings = dict(config=read("tokenizer_config.json"), special=read("special_tokens_map.json"))
    return dict(**settings, length=length, pad=tokenizer.pad_token_id, ids=ids, dropped=dropped)


def write(path, value):
    """A line for each text, so that a change is seen where it is."""
    def one(value):
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    lists = {key: "[\n" + ",\n".join(map(one, x)) + "\n]" for key, x in value.items() if isinstance(x, list)}
    path.write_text("{\n" + ",\n".join(f"{one(key)}:{lists.get(key) or one(x)}" for key, x in value.items()) + "\n}\n")
    print(path.name, path.stat().st_size, "bytes")


def reduce(source, target):
    """The bytes, the first pairs of letters, and the two tokens at the end, which every vocabulary of CLIP's kind has."""
    pairs = (source / "merges.txt").read_text().split("\n")[1:1 + PAIRS]
    vocabulary = json.loads((source / "vocab.json").read_text())
    kept = {text: id for text, id in vocabulary.items() if id < 512 + PAIRS}
    assert set("".join(pair.split()) for pair in pairs) == {text for text, id in kept.items() if id >= 512}
    kept |= {BEGIN: len(kept), END: len(kept) + 1}
    target.mkdir(parents=True, exist_ok=True)
    (target / "vocab.json").write_text(json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n")
    (target / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n")


def variants():
    """Settings in the shapes that published checkpoints have."""
    token = lambda text, normalized: dict(content=text, lstrip=False, normalized=normalized, rstrip=False, single_word=False)
    names = dict(bos_token=BEGIN, eos_token=END, unk_token=END)
    first = dict({key: dict(token(text, True), __type="AddedToken") for key, text in names.items()}, pad_token=END, model_max_length=77)
    map_ = {key: token(text, True) for key, text in names.items()}
    yield "sd1", first, dict(map_, pad_token=END)
    yield "sd2", first, dict(map_, pad_token="!")  # the map has the last word on padding
    yield "newer", dict(names, pad_token=END, model_max_length=40, added_tokens_decoder={"1113": dict(token(END, True), special=True)}), dict(map_, pad_token="!")
    yield "bare", None, None


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--model", nargs=2, type=pathlib.Path)
    parser.add_argument("vocabulary", nargs="?", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.model:
        folder, file = arguments.model
        return write(file, reference(folder / "tokenizer"))
    reduce(arguments.vocabulary, OUT / "reduced")
    write(OUT / "texts.json", dict(texts=texts()))
    write(OUT / "mini.json", reference(ROOT / "models" / "mini" / "tokenizer"))
    for name, config, special in variants():
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for file in ("vocab.json", "merges.txt"):
                shutil.copyfile(OUT / "reduced" / file, folder / file)
            for file, value in (("tokenizer_config.json", config), ("special_tokens_map.json", special)):
                if value:
                    (folder / file).write_text(json.dumps(value))
            write(OUT / f"{name}.json", reference(folder))


if __name__ == "__main__":
    main()
