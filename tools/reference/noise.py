"""Writes what PyTorch's CPU generator draws: tests/reference/noise/*.json.

usage: noise.py     (with the interpreter that setup.sh makes)
Each file is a seed: the first numbers of the raw stream, and for several sequences of `torch.randn` calls the bits of the first and last
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


def main():
    out = pathlib.Path(__file__).resolve().parents[2] / "tests" / "reference" / "noise"
    out.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        raw = torch.empty(64, dtype=torch.int64).random_(0, 2**32 - 1, generator=torch.Generator().manual_seed(seed))
        # The range 2^32 - 1 is taken modulo; a draw of 2^32 - 1 itself would read 0 (none occurs here).
        sequences = []
        for calls in CALLS:
            generator = torch.Generator().manual_seed(seed)
            draws = []
            for count in calls:
                bits = [b & 0xFFFFFFFF for b in torch.randn(count, generator=generator).view(torch.int32).tolist()]
                draws.append(dict(count=count, first=bits[:16], last=bits[-16:], checksum=checksum(bits)))
            sequences.append(draws)
        table = dict(seed=seed, capability=torch.backends.cpu.get_cpu_capability(), raw=raw.tolist(), sequences=sequences)
        (out / f"{seed}.json").write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
