"""Writes what PyTorch's CPU generator draws: tests/reference/noise/*.json.

usage: noise.py     (with the interpreter that setup.sh makes)
Each file is a seed: the numbers of the raw stream from its second on, and for several sequences of `torch.randn` calls the bits of the first and last
elements of each call and a checksum (the exclusive or of all bits, each rotated left by its index).
"""
import json, pathlib
import torch

SEEDS = [0, 42, 2**32 + 7, 2**63 - 1]
# 1x4x16x16 with the noise of two ancestral steps after it, 1x4x64x64 likewise, an odd size, fewer than 16 elements, and a mixture.
CALLS = [[1024, 1024, 1024], [16384, 16384], [140, 140, 140], [15, 15, 3, 1], [17, 3, 16, 5, 1000]]


def checksum(bits):
    total = 0
    for i, b in enumerate(bits):
        r = i % 32
        total ^= ((b << r) | (b >> (32 - r))) & 0xFFFFFFFF
    return total


def raw_stream(seed, count):
    """The first 32-bit numbers. A 64-bit draw shows all bits of every second one; a draw before it shifts which."""
    low = []
    for skipped in (0, 1):
        generator = torch.Generator().manual_seed(seed)
        torch.empty(skipped, dtype=torch.uint8).random_(generator=generator)
        low.append([x & 0xFFFFFFFF for x in torch.empty(count // 2, dtype=torch.int64).random_(generator=generator).tolist()])
    # The first pass shows numbers 1, 3, 5, ...; the second 2, 4, 6, ...; number 0 is never shown whole.
    return [x for pair in zip(*low) for x in pair]


def main():
    out = pathlib.Path(__file__).resolve().parents[2] / "tests" / "reference" / "noise"
    out.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        raw = raw_stream(seed, 64)
        sequences = []
        for calls in CALLS:
            generator = torch.Generator().manual_seed(seed)
            draws = []
            for count in calls:
                bits = [b & 0xFFFFFFFF for b in torch.randn(count, generator=generator).view(torch.int32).tolist()]
                draws.append(dict(count=count, first=bits[:16], last=bits[-16:], checksum=checksum(bits)))
            sequences.append(draws)
        table = dict(seed=seed, capability=torch.backends.cpu.get_cpu_capability(), raw=raw, sequences=sequences)
        (out / f"{seed}.json").write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
