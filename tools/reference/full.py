"""Compares sega with the reference on checkpoints of full size, in every layout.

usage: full.py CHECKPOINT... [--sega PROGRAM] [--work FOLDER] [--size 256x256] [--steps 4] [--shards] [--only NAME] [--precision f32]
CHECKPOINT: folders that checkpoint.py wrote (sd15, sd21, sdxl; --half). Each is also written as one file in the original layout
(single_file.py), with --shards as f32 cut into shards, and with LoRAs of random matrices (lora.py). For every job of JOBS prints the greatest
difference of the final latents relative to their largest value, the share of the picture's values within one grey level, whether each
layout gives the folder's bits, and the peak memory of both. On XL, where diffusers has no semantic guidance, concepts are by the
reference's own loop on the estimates of XL's network (render.py).
"""
import argparse, json, os, pathlib, subprocess, sys
import numpy as np
from PIL import Image
from safetensors.numpy import load_file

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here))
import parity  # noqa: E402

CONCEPTS = [parity.concept(parity.GLASSES, warmup=1), parity.concept(parity.SMILE, minus=True, warmup=2)]
JOBS = [
    parity.job("plain", "", negative="blurry"),
    parity.job("concepts", "", concepts=CONCEPTS, momentum=.3, beta=.6),
    parity.job("lora-kohya", "", lora=dict(layout="kohya", strength=.6)),
    parity.job("lora-peft", "", concepts=CONCEPTS[:1], lora=dict(layout="peft", strength=.8)),
]


def run(command):
    """What a process took at most, in GiB."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    return usage.ru_maxrss / 2**20


def written(path, *command):
    if not path.exists():
        subprocess.run([str(word) for word in [sys.executable, *command]], check=True, stdout=subprocess.DEVNULL)
    return path


def shard(folder, to):
    """The checkpoint in f32, its networks cut into shards."""
    import torch
    from diffusers import DiffusionPipeline
    DiffusionPipeline.from_pretrained(str(folder), torch_dtype=torch.float32, local_files_only=True).save_pretrained(str(to), max_shard_size="1GB")


def compare(a, folder, job):
    out = a.work / f"{folder.name}-{job['name']}"
    if job.get("lora"):
        layout = job["lora"]["layout"]
        file = a.work / f"{folder.name}-{layout}.safetensors"
        job["lora"]["file"] = str(written(file, here / "lora.py", folder, file, layout))
    out.with_suffix(".json").write_text(json.dumps(job))
    theirs = out.with_name(out.name + "-reference")
    peak = run([sys.executable, here / "render.py", folder, out.with_suffix(".json"), theirs])
    reference = load_file(theirs.with_suffix(".safetensors"))
    image = (reference["image"][0].transpose(1, 2, 0) * 255).round().astype(int)
    layouts = {"folder": folder}
    if job["name"] in ("plain", "concepts"):
        single = a.work / f"{folder.name}-single.safetensors"
        layouts["single file"] = written(single, here / "single_file.py", folder, single)
    if a.shards and job["name"] == "plain":
        layouts["f32 in shards"] = a.work / f"{folder.name}-shards"
        if not layouts["f32 in shards"].exists():
            shard(folder, layouts["f32 in shards"])
    first, notes = None, {}
    for layout, model in layouts.items():
        recipe, picture, latents = (out.with_suffix(ending) for ending in (".sega", ".png", ".safetensors"))
        recipe.write_text(parity.recipe(job, model.resolve(), True))
        ours = run([a.sega, "run", recipe, "-o", picture, "--latents", latents, "--force", "--precision", a.precision])
        latents, picture = load_file(latents)["latents"], np.asarray(Image.open(picture)).astype(int)
        first = latents if first is None else first
        error, key = parity.apart(latents, reference["latents"]), latents.tobytes()
        if error > 1e-4 and job["concepts"] and key not in notes:
            gap, explained = parity.Reference().decided_otherwise(str(folder), job, latents, tries=a.tries)
            notes[key] = f"  {explained:.1e} with one decision turned over, between magnitudes {gap or 0:.0e} apart"
        print(f"{folder.name:6} {job['name']:11} {layout:14} latents {error:.1e}  "
              f"pixels {float((np.abs(picture - image) <= 1).mean()):.5f}  {'the same bits' if (latents == first).all() else 'OTHER BITS'}  "
              f"peak {ours:.2f} GiB, diffusers {peak:.2f}{notes.get(key, '')}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoints", nargs="+", type=pathlib.Path)
    p.add_argument("--sega", type=pathlib.Path, default=here.parents[1] / "target" / "release" / "sega")
    p.add_argument("--work", type=pathlib.Path, default=here.parents[1] / "target" / "parity")
    p.add_argument("--size", default="256x256"); p.add_argument("--steps", type=int, default=4)
    p.add_argument("--shards", action="store_true"); p.add_argument("--only"); p.add_argument("--precision", default="f32")
    p.add_argument("--tries", type=int, default=8, help="decisions that are turned over where latents are more than 1e-4 apart")
    a = p.parse_args()
    a.work.mkdir(parents=True, exist_ok=True)
    width, height = map(int, a.size.split("x"))
    for folder in a.checkpoints:
        for job in JOBS:
            if not a.only or a.only in job["name"]:
                compare(a, folder, {**job, "checkpoint": folder.name, "width": width, "height": height, "steps": a.steps, "lora": job.get("lora") and dict(job["lora"])})


if __name__ == "__main__":
    main()
