"""Writes what the reference renders on the embedded model: small tables for tests that need no Python.

usage: renders.py [NAME ...]     (with the interpreter that setup.sh makes)
For every job of parity.py, or those named, at half its size, writes tests/reference/renders/NAME.json: the recipe, what the network is taken to
predict (mini estimates the noise; the same weights taken as a velocity make no picture, but the same arithmetic), the final latents
and every eighth pixel of the picture.

Thresholding is a decision, and in a picture this small a single one shows. A job's seed is therefore raised until the reference agrees
with itself to 3e-5 when its initial latents are moved by a few millionths, twelve times over: then no decision was near.
"""
import json, pathlib, sys
import torch
import parity, render

root = parity.here.parents[1]
out = root / "tests" / "reference" / "renders"
# Seeds below this one are not tried: 120 passes `steady`, and all the same has a decision so near that other sums turn it over.
FIRST_SEED = {"three-staggered-pndm": 121}


def steady(pipe, job, latents, tries=12, moved=3e-6, bound=3e-5):
    """Whether small changes at the start stay small."""
    make, generator = pipe.prepare_latents, torch.Generator().manual_seed(0)

    def nearby(*args, **more):
        start = make(*args, **more)
        return start * (1 + moved * torch.randn(start.shape, generator=generator))

    pipe.prepare_latents = nearby
    try:
        return all(parity.apart(render.call(pipe, job, "cpu")[1].numpy(), latents.numpy()) <= bound for _ in range(tries))
    finally:
        pipe.prepare_latents = make


def main():
    out.mkdir(parents=True, exist_ok=True)
    for job in parity.JOBS if len(sys.argv) == 1 else [j for j in parity.JOBS if j["name"] in sys.argv[1:]]:
        job = dict(job, width=job["width"] // 2, height=job["height"] // 2)
        prediction = "v_prediction" if "-v-" in job["checkpoint"] else "epsilon"
        # The embedded model's own scheduler is ddim; the job's, where it names none, is its checkpoint's.
        if job["scheduler"] is None:
            job["scheduler"] = parity.DDIM if prediction == "v_prediction" else parity.PNDM
        config = dict(job["scheduler_config"], prediction_type=prediction)
        if job["scheduler"] == parity.PNDM:
            config["skip_prk_steps"] = True
        job["scheduler_config"] = config
        job["seed"] = FIRST_SEED.get(job["name"], job["seed"])
        pipe = render.load(str(root / "models" / "mini"), torch.float32, job)
        while True:
            _, latents, image = render.call(pipe, job, "cpu")
            if steady(pipe, job, latents):
                break
            job["seed"] += 1
        picture = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(int)[::8, ::8]
        table = dict(prediction=prediction, recipe=parity.recipe(job, "mini", True), edition1=job["edition1"], shape=list(latents.shape),
                     latents=[float(f"{x:.6g}") for x in latents.flatten().tolist()], picture=picture.flatten().tolist())
        (out / f'{job["name"]}.json').write_text(json.dumps(table, separators=(",", ":")) + "\n")
        print(job["name"], "seed", job["seed"])


if __name__ == "__main__":
    main()
