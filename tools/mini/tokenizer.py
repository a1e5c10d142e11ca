"""Makes mini's tokenizer: CLIP's byte-pair kind, with every word of the captions as one token.

usage: tokenizer.py FOLDER
Writes tokenizer.json, vocab.json, merges.txt and tokenizer_config.json. Token 0 starts a text, token 1 ends and pads it. The letters a-z, the digits and
`! ' , - . ?` are known with and without the end of a word, so that any lower-case text can be spelled; other characters are unknown (the end token).
"""
import json
import os
import sys
from collections import Counter

import captions

START, END, LENGTH = "<|startoftext|>", "<|endoftext|>", 32
CHARACTERS = "!',-.0123456789?abcdefghijklmnopqrstuvwxyz"
PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
EXTRA_WORDS = "with an image picture of portrait and , a the".split()


def words():
    """The words of the captions, most frequent first, then by spelling."""
    count = Counter(w for text in captions.vocabulary() for w in text.split())
    count.update(EXTRA_WORDS)
    return sorted(count, key=lambda w: (-count[w], w))


def byte_pairs():
    """Vocabulary (token -> number) and merges. Each word in turn is merged from what there is, its leftmost pair of equals first."""
    vocabulary = [START, END, *CHARACTERS, *(c + "</w>" for c in CHARACTERS)]
    merges = []
    for word in words():
        pieces = split(word, merges)
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            vocabulary.append(pieces[0] + pieces[1])
            pieces = split(word, merges)
    return {t: k for k, t in enumerate(vocabulary)}, merges


def split(word, merges):
    """`word` in pieces after `merges`, in their order of rank."""
    pieces = [*word[:-1], word[-1] + "</w>"]
    rank = {m: k for k, m in enumerate(merges)}
    while True:
        best = min(((rank[p], k) for k, p in enumerate(zip(pieces, pieces[1:])) if p in rank), default=None)
        if best is None:
            return pieces
        pair = merges[best[0]]
        merged, k = [], 0
        while k < len(pieces):
            if tuple(pieces[k:k + 2]) == pair:
                merged.append(pieces[k] + pieces[k + 1])
                k += 2
            else:
                merged.append(pieces[k])
                k += 1
        pieces = merged


def definition():
    """tokenizer.json as a dictionary."""
    vocabulary, merges = byte_pairs()
    special = [{"id": k, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for k, t in enumerate((START, END))]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, 1], "cls": [START, 0], "trim_offsets": False, "add_prefix_space": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": False,
                  "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": [list(m) for m in merges]},
    }


def write(folder):
    os.makedirs(folder, exist_ok=True)
    tokens = definition()
    config = {"backend": "tokenizers", "bos_token": START, "eos_token": END, "model_max_length": LENGTH, "pad_token": END, "tokenizer_class": "CLIPTokenizer", "unk_token": END}
    with open(f"{folder}/tokenizer.json", "w") as f:
        json.dump(tokens, f, indent=2, ensure_ascii=False)
    with open(f"{folder}/vocab.json", "w") as f:
        json.dump(tokens["model"]["vocab"], f, ensure_ascii=False)
    with open(f"{folder}/merges.txt", "w") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in tokens["model"]["merges"]))
    with open(f"{folder}/tokenizer_config.json", "w") as f:
        json.dump(config, f, indent=2)


def encoder():
    """A function text -> LENGTH token numbers, padded with the end token."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_str(json.dumps(definition()))

    def encode(text):
        ids = tokenizer.encode(text).ids
        if len(ids) > LENGTH:
            ids = ids[:LENGTH - 1] + [1]
        return ids + [1] * (LENGTH - len(ids))
    return encode


if __name__ == "__main__":
    write(sys.argv[1])
