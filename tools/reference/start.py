"""Time from the start of the process to the first evaluation of the network: sega beside the reference, alternately.

usage: start.py CHECKPOINT [--sega PROGRAM] [--runs 3] [--threads 2]
The job is one of two texts. What comes before the first evaluation does not depend on the picture's size, so ours is a small one. Prints the
median and the least of the runs, a first one left out, and what part of the reference's time its imports take.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, tempfile, time

here = pathlib.Path(__file__).resolve().parent


def reference(checkpoint, threads, began):
    import torch
    from diffusers import StableDiffusionPipeline
    imported = time.time()
    torch.set_num_threads(threads)
    pipe = StableDiffusionPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32, local_files_only=True, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)

    def first(*_, **__):
        print(json.dumps([time.time() - began, imported - began]), flush=True)
        os._exit(0)
    pipe.unet.forward = first
    pipe("a portrait of a woman", width=512, height=512, num_inference_steps=1, generator=torch.Generator("cpu").manual_seed(1))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("checkpoint"); p.add_argument("--sega", default=str(here.parents[1] / "target" / "release" / "sega"))
    p.add_argument("--runs", type=int, default=3); p.add_argument("--threads", type=int, default=2)
    p.add_argument("--reference", type=float, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.reference:
        return reference(a.checkpoint, a.threads, a.reference)
    recipe = pathlib.Path(tempfile.mkdtemp()) / "a.sega"
    recipe.write_text(f'sega 1\nmodel {json.dumps(os.path.abspath(a.checkpoint))}\nprompt "a portrait of a woman"\nseed 1\nsize 64x64\nsteps 1\nscheduler ddim\n')

    def ours():
        done = subprocess.run([a.sega, "run", "--json", "--force", "--threads", str(a.threads), str(recipe)], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["pictures"][0]["first_step_after_seconds"], 0

    def theirs():
        done = subprocess.run([sys.executable, *sys.argv, "--reference", str(time.time())], capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    seconds = {"ours": [], "diffusers": []}
    for run in range(a.runs + 1):
        for name, work in (("ours", ours), ("diffusers", theirs)):
            made = work()
            if run:
                seconds[name].append(made)
    for name, made in seconds.items():
        whole, imports = zip(*made)
        print(f"{name:<10} median {statistics.median(whole):5.2f} s, least {min(whole):5.2f} s" + (f", imports {statistics.median(imports):.2f} s" if any(imports) else ""))


if __name__ == "__main__":
    main()
