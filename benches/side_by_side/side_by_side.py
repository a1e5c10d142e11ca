"""This program beside the reference implementation (diffusers): the same work by both, alternately in one run.

usage: side_by_side.py unet   MODEL [--rows N] [--size N]     one evaluation of the U-Net, of rows that share their latents
       side_by_side.py decode MODEL [--size N]                the decoder; sizes are the latents'
       side_by_side.py render MODEL JOB                       a whole render of a job of tools/reference/render.py, such as jobs/published.json
and [--runs N] [--threads N] [--bf16]. MODEL is a folder in diffusers' layout. Build ours first:
    cargo build --release; cargo build --release --bench side_by_side
Prints for both the least and the median time that passed (and of the processor, all threads together), the peak memory of
the process, the ratio of the medians, and the largest difference of the results as a share of the largest value. A render's
time is without reading weights, and of ours without encoding texts; its result is the final latents.
"""
import argparse, glob, json, os, resource, statistics, subprocess, sys, tempfile, time


sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/reference"))


def reference(a):
    """The reference's process: works once for every line, like ours."""
    import torch
    from safetensors.torch import load_file, save_file
    torch.set_num_threads(a.threads)
    dtype = torch.bfloat16 if a.bf16 else torch.float32
    if a.work == "render":
        import render
        job = json.load(open(a.job))
        pipe = render.load(a.model, dtype, job)
        work = lambda _: render.call(pipe, job, "cpu")[1]
    else:
        from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
        x = {name: tensor.to(dtype) for name, tensor in load_file(a.inputs).items()}
        rows = x["latents"].repeat(len(x["text"]), 1, 1, 1)
        unet = UNet2DConditionModel.from_pretrained(f"{a.model}/unet", torch_dtype=dtype).eval()
        kind = json.load(open(f"{a.model}/vae/config.json"))["_class_name"]
        vae = dict(AutoencoderKL=AutoencoderKL, AutoencoderTiny=AutoencoderTiny)[kind].from_pretrained(f"{a.model}/vae", torch_dtype=dtype).eval()
        decode = lambda: vae.decode(x["latents"] / vae.config.scaling_factor).sample / 2 + 0.5
        work = lambda name: unet(rows, 500, encoder_hidden_states=x["text"]).sample if name == "unet" else decode()
    with torch.no_grad():
        for line in sys.stdin:
            name, file = line.split()
            began, processor = time.perf_counter(), time.process_time()
            result = work(name)
            times = time.perf_counter() - began, time.process_time() - processor
            save_file({"result": result.float().contiguous()}, file)
            print(*(t * 1e3 for t in times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


def server(command):
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(work, file):
        process.stdin.write(f"{work} {file}\n"); process.stdin.flush()
        return tuple(map(float, process.stdout.readline().split()))
    return ask


def sega(a):
    """A render by a process of ours."""
    import parity
    recipe = tempfile.mkdtemp() + "/job.sega"
    with open(recipe, "w") as f:
        f.write(parity.recipe({"clip_skip": None, **json.load(open(a.job)), "checkpoint": a.model}, os.path.abspath(a.model), True))

    def ask(_, file):
        command = ["target/release/sega", "run", recipe, "--json", "--force", "--threads", a.threads, "--latents", file, "-o", file + ".png"]
        process = subprocess.Popen([str(word) for word in command + ["--precision", "bf16"] * a.bf16], stdout=subprocess.PIPE, text=True)
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(text)
        return json.loads(text)["pictures"][0]["seconds"] * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3, usage.ru_maxrss
    return ask


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", choices=["unet", "decode", "render"]); p.add_argument("model")
    p.add_argument("job", nargs="?")
    for name, value in dict(rows=4, size=16, runs=5, threads=2).items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--bf16", action="store_true"); p.add_argument("--inputs"); p.add_argument("--reference", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.reference:
        return reference(a)
    import torch
    from safetensors.torch import load_file, save_file
    folder = tempfile.mkdtemp()
    a.inputs = f"{folder}/inputs"
    config = json.load(open(f"{a.model}/unet/config.json"))
    text = json.load(open(f"{a.model}/text_encoder/config.json"))
    torch.manual_seed(1)
    save_file({"latents": torch.randn(1, config["in_channels"], a.size, a.size),
               "text": torch.randn(a.rows, text["max_position_embeddings"], config["cross_attention_dim"])}, a.inputs)
    if a.work == "render":
        ours = sega(a)
    else:
        programs = [f for f in glob.glob("target/release/deps/side_by_side-*") if os.access(f, os.X_OK) and not f.endswith(".d")]
        ours = server([max(programs, key=os.path.getmtime), a.model, a.inputs, "--threads", a.threads] + ["--bf16"] * a.bf16)
    theirs = server([sys.executable, *sys.argv, "--inputs", a.inputs, "--reference"])
    askers, figures, results = {"ours": ours, "diffusers": theirs}, {"ours": [], "diffusers": []}, {}
    for run in range(a.runs + 1):
        for name, ask in askers.items():
            file = f"{folder}/{name}"
            figures[name].append(ask(a.work, file))
            tensors = load_file(file)
            results[name] = tensors.get("result", tensors.get("latents"))
    for name, rows in figures.items():
        # The first run is to warm up.
        wall, processor, peak = zip(*rows[1:])
        print(f"{name:<10} passed: min {min(wall):9.1f} median {statistics.median(wall):9.1f} ms   processor: median "
              f"{statistics.median(processor):9.1f} ms   peak {max(peak) / 1024:6.0f} MiB")
    median = lambda name, column: statistics.median(row[column] for row in figures[name][1:])
    difference = (results["ours"] - results["diffusers"]).abs().max() / results["diffusers"].abs().max()
    print(f"ratio of medians: passed {median('ours', 0) / median('diffusers', 0):.2f}, processor {median('ours', 1) / median('diffusers', 1):.2f}, "
          f"peak {figures['ours'][-1][2] / figures['diffusers'][-1][2]:.2f}; largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
