"""This program beside the reference implementation (diffusers): the same work by both, alternately in one run.

usage: side_by_side.py unet   MODEL [--rows N] [--size N]     one evaluation of the U-Net, of rows that share their latents
       side_by_side.py decode MODEL [--size N]                the decoder; sizes are the latents'
       side_by_side.py render MODEL JOB [--concepts N] [--pictures N] [--pixels N] [--steps N]
                                                              whole renders of a job of tools/reference/render.py, such as jobs/published.json:
                                                              of its first concepts, so many pictures (the reference's as one batch, with one
                                                              seed each), so many pixels wide and high
       side_by_side.py limits                                 what the device does at most: bytes copied, bf16 multiplied
       side_by_side.py profile MODEL [--rows N] [--size N] [--ncu PROGRAM]
                                                              the kernels that one evaluation of our U-Net on a card takes its time with, by NVIDIA's ncu
and [--runs N] [--threads N] [--device cpu|cuda] [--precision f32|f16|bf16] [--compile] [--openvino] [--cold] [--bin FOLDER] [--json FILE].
MODEL is a folder in diffusers' layout. Build ours first (or give the folder of both programs):
    cargo build --release; cargo build --release --bench side_by_side
Prints for both the least and the median time that passed (and of the processor, all threads together), the peak memory (of the process;
on a card, of the tensors there), the ratio of the medians, and the largest difference of the results as a share of the largest value. Of
renders also the seconds of a step, and the time from the program's start to the first step, which for ours is every run's and for the
reference's the first one's. A render's time is without reading weights, and of ours without encoding texts; its result is the final latents of
the first picture. On a card each process of ours renders one picture more, the first, to warm up as the reference's process has; it is not counted. Where
--steps changes a job's number, warm-ups and ranges keep their share of them. Of the U-Net also the operations, as the reference counts them, and how many a second
that is. --compile adds the reference with its U-Net compiled by torch.compile; --openvino, for U-Net and decoder, the reference's networks computed
by OpenVINO on the CPU (pip install openvino, into the reference's environment). One run more, to warm up, comes first and is not counted; --cold
leaves it out, for renders that take minutes. --json adds a line of figures to a file.
"""
import argparse, glob, json, os, resource, statistics, subprocess, sys, tempfile, time

BEGAN = time.perf_counter()
TYPES = dict(f32="float32", f16="float16", bf16="bfloat16")

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/reference"))


def the_job(a):
    """The job as the command line changes it."""
    with open(a.job) as f:
        job = {"clip_skip": None, **json.load(f)}
    if a.concepts is not None:
        if a.concepts > len(job["concepts"]):
            sys.exit(f"{a.job} has {len(job['concepts'])} concepts")
        job["concepts"] = job["concepts"][:a.concepts]
    if a.pixels:
        job["width"] = job["height"] = a.pixels
    if a.steps:
        for concept in job["concepts"]:
            for key in ("warmup", "cooldown"):
                if concept[key] is not None:
                    concept[key] = max(round(concept[key] * a.steps / job["steps"]), min(concept[key], 1))
        job["steps"] = a.steps
    return job


def reference(a):
    """The reference's process: works once for every line, like ours."""
    import torch
    from safetensors.torch import load_file, save_file
    if a.device == "cpu":
        torch.set_num_threads(a.threads)
    # OpenVINO is given what is to be rounded, and does it.
    dtype = getattr(torch, TYPES["f32" if a.openvino else a.precision])
    wait = torch.cuda.synchronize if a.device != "cpu" else lambda: None
    first, begins, operations = [None], [0.0], None
    if a.work == "render":
        import render
        job = the_job(a)
        pipe = render.load(a.model, dtype, job).to(a.device)

        def notice(*_):
            if first[0] is None:
                first[0] = time.perf_counter() - BEGAN
            begins[0] = begins[0] or time.perf_counter()
        pipe.unet.register_forward_pre_hook(notice)
        if a.compile:
            pipe.unet.compile()
        work = lambda _: render.call(pipe, job, a.device, a.pictures)[1][:1]
    else:
        from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
        x = {name: tensor.to(a.device, dtype) for name, tensor in load_file(a.inputs).items()}
        rows = x["latents"].repeat(len(x["text"]), 1, 1, 1)
        unet = UNet2DConditionModel.from_pretrained(f"{a.model}/unet", torch_dtype=dtype).eval().to(a.device)
        if a.compile:
            unet.compile()
        with open(f"{a.model}/vae/config.json") as f:
            kind = json.load(f)["_class_name"]
        vae = dict(AutoencoderKL=AutoencoderKL, AutoencoderTiny=AutoencoderTiny)[kind].from_pretrained(f"{a.model}/vae", torch_dtype=dtype).eval().to(a.device)
        decode = lambda: vae.decode(x["latents"] / vae.config.scaling_factor).sample / 2 + 0.5
        added = dict(added_cond_kwargs=dict(text_embeds=x["whole"], time_ids=sizes(a, x["whole"]))) if "whole" in x else {}
        work = lambda name: unet(rows, 500, encoder_hidden_states=x["text"], **added).sample if name == "unet" else decode()
        if a.openvino:
            if a.work == "unet":
                work = by_openvino(a, unet, (rows, torch.tensor(500)), dict(encoder_hidden_states=x["text"], **added))
            else:
                vae.forward = lambda latents: vae.decode(latents).sample
                work = by_openvino(a, vae, (x["latents"] / vae.config.scaling_factor,), {})
    print("ready", flush=True)
    with torch.no_grad():
        for line in sys.stdin:
            name, file = line.split()
            begins[0] = 0.0
            began, processor = time.perf_counter(), time.process_time()
            result = work(name)
            wait()
            times = time.perf_counter() - began, time.process_time() - processor
            sampling = time.perf_counter() - (begins[0] or began)
            save_file({"result": result.float().cpu().contiguous()}, file)
            if operations is None:
                operations = counted(lambda: work(name)) if name == "unet" and not a.compile and not a.openvino else 0
            peak = torch.cuda.max_memory_allocated() / 1024 if a.device != "cpu" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(*(t * 1e3 for t in times), peak, sampling * 1e3, (first[0] or 0.0) * 1e3, operations, flush=True)


def by_openvino(a, network, inputs, named):
    """A network computed by OpenVINO, for inputs of just these shapes."""
    import openvino, torch
    from torch.utils._pytree import tree_flatten, tree_unflatten
    tensors, structure = tree_flatten((inputs, named))

    class Positional(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, *tensors):
            inputs, named = tree_unflatten(list(tensors), structure)
            made = self.network(*inputs, **named)
            return made if isinstance(made, torch.Tensor) else made.sample

    with torch.no_grad():
        model = openvino.convert_model(Positional().eval(), example_input=tuple(tensors), input=[tuple(tensor.shape) for tensor in tensors])
    settings = dict(INFERENCE_PRECISION_HINT=a.precision, INFERENCE_NUM_THREADS=a.threads, PERFORMANCE_HINT="LATENCY")
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    after = (lambda picture: picture / 2 + 0.5) if a.work == "decode" else lambda estimate: estimate
    return lambda _: after(torch.from_numpy(compiled([tensor.numpy() for tensor in tensors])[0].copy()))


def counted(work):
    """The operations of matrix products, convolutions and attention in some work: a multiplication and an addition are two."""
    from torch.utils.flop_counter import FlopCounterMode
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


def sizes(a, like):
    """What XL's network is told of the picture, as ours tells it: the model's own size, and nothing cut off."""
    import torch
    with open(f"{a.model}/unet/config.json") as f:
        side = json.load(f)["sample_size"] * 8
    return torch.tensor([side, side, 0, 0, side, side], dtype=like.dtype, device=like.device).expand(len(like), -1)


def server(command):
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(work, file):
        process.stdin.write(f"{work} {file}\n"); process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            sys.exit(f"{command[0]} ended")
        return tuple(map(float, line.split()))
    ask.ready = process.stdout.readline
    return ask


def sega(a):
    """A render by a process of ours."""
    import parity
    folder, job = tempfile.mkdtemp(), the_job(a)
    recipe = folder + "/job.sega"
    text = parity.recipe({**job, "checkpoint": a.model}, os.path.abspath(a.model), True)
    # One more, the first, which warms up.
    warm = 0 if a.device == "cpu" else 1
    count = a.pictures + warm
    if count > 1:
        text = text.replace(f'\nseed {job["seed"]}\n', f'\nseed {job["seed"]} to {job["seed"] + count - 1}\n')
    with open(recipe, "w") as f:
        f.write(text)

    def ask(_, file):
        command = [f"{a.bin}/sega", "run", recipe, "--json", "--force", "--device", a.device, "--precision", a.precision, "--latents", file, "-o", file + ".png"]
        command += ["--threads", a.threads] if a.device == "cpu" else []
        process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(text)
        pictures = json.loads(text)["pictures"]
        if count > 1:
            os.replace(pictures[0]["latents"], file)
        total = lambda key: sum(picture[key] for picture in pictures[warm:]) * 1e3
        peak = (pictures[-1]["device_memory_peak"] or 0) / 1024 or usage.ru_maxrss
        return total("seconds"), (usage.ru_utime + usage.ru_stime) * 1e3, peak, total("sampling_seconds"), pictures[0]["first_step_after_seconds"] * 1e3
    return ask


def limits(a):
    """What the device does at most."""
    import torch
    dtype = torch.bfloat16
    side, count = (8192, 1 << 30) if a.device != "cpu" else (1024, 1 << 26)
    wait = torch.cuda.synchronize if a.device != "cpu" else lambda: None

    def best(work):
        times = []
        for _ in range(a.runs + 3):
            wait(); began = time.perf_counter(); work(); wait()
            times.append(time.perf_counter() - began)
        return min(times)
    x, y = (torch.randn(side, side, device=a.device).to(dtype) for _ in range(2))
    rate = 2 * side ** 3 / best(lambda: x @ y)
    source = torch.ones(count, dtype=torch.uint8, device=a.device); target = torch.empty_like(source)
    bandwidth = 2 * count / best(lambda: target.copy_(source))
    print(f"copies {bandwidth / 1e9:.0f} GB/s (read and written), multiplies {side}x{side} in bf16 at {rate / 1e12:.2f} TFLOP/s")
    keep(a, dict(work="limits", device=a.device, bytes_per_second=bandwidth, operations_per_second=rate))


def profile(a):
    """Where a card's time goes."""
    import csv
    folder = tempfile.mkdtemp()
    a.inputs = f"{folder}/inputs"
    inputs(a, a.inputs)
    # The kernels of reading weights are among them; they are few.
    command = [a.ncu, "--csv", "--page", "raw", "--print-units", "base", "--metrics", "gpu__time_duration.sum", "--clock-control", "none", "--log-file", f"{folder}/ncu.csv",
               ours_at(a), a.model, a.inputs, "--device", a.device, "--precision", a.precision]
    subprocess.run([str(word) for word in command], input=f"unet {folder}/result\n", text=True, check=True)
    with open(f"{folder}/ncu.csv") as f:
        lines = f.read().splitlines()
    begin = next((at for at, line in enumerate(lines) if line.startswith('"ID"')), None)
    if begin is None:
        sys.exit("\n".join(lines[-20:]) or "ncu wrote nothing")
    spent = {}
    for row in csv.DictReader(lines[begin:]):
        # A line of units comes first.
        if row["ID"]:
            name = row["Kernel Name"].split("(")[0][:90]
            nanoseconds, calls = spent.get(name, (0.0, 0))
            spent[name] = nanoseconds + float(row["gpu__time_duration.sum"].replace(",", "")), calls + 1
    whole = sum(nanoseconds for nanoseconds, _ in spent.values())
    order = sorted(spent.items(), key=lambda item: -item[1][0])
    print(f"{sum(calls for _, calls in spent.values())} kernels, {whole / 1e6:.2f} ms")
    for name, (nanoseconds, calls) in order[:25]:
        print(f"{nanoseconds / 1e6:9.3f} ms {nanoseconds / whole:6.1%} {calls:6} times  {name}")
    keep(a, dict(work="profile", model=a.model, rows=a.rows, size=a.size, precision=a.precision, milliseconds=whole / 1e6,
                 kernels={name: dict(milliseconds=nanoseconds / 1e6, calls=calls) for name, (nanoseconds, calls) in order[:60]}))


def ours_at(a):
    """Our program that computes networks."""
    programs = [f for f in glob.glob("target/release/deps/side_by_side-*") if os.access(f, os.X_OK) and not f.endswith(".d")]
    return f"{a.bin}/side_by_side" if a.bin else max(programs, key=os.path.getmtime, default=None)


def keep(a, figures):
    if a.json:
        with open(a.json, "a") as f:
            f.write(json.dumps(figures) + "\n")


def inputs(a, file):
    import torch
    from safetensors.torch import save_file
    with open(f"{a.model}/unet/config.json") as f:
        config = json.load(f)
    with open(f"{a.model}/text_encoder/config.json") as f:
        text = json.load(f)
    torch.manual_seed(1)
    made = {"latents": torch.randn(1, config["in_channels"], a.size, a.size),
            "text": torch.randn(a.rows, text["max_position_embeddings"], config["cross_attention_dim"])}
    if config.get("addition_embed_type") == "text_time":
        made["whole"] = torch.randn(a.rows, config["projection_class_embeddings_input_dim"] - 6 * config["addition_time_embed_dim"])
    save_file(made, file)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("work", choices=["unet", "decode", "render", "limits", "profile"]); p.add_argument("model", nargs="?")
    p.add_argument("job", nargs="?")
    for name, value in dict(rows=4, size=16, runs=5, threads=2, pictures=1).items():
        p.add_argument(f"--{name}", type=int, default=value)
    for name in ("concepts", "pixels", "steps"):
        p.add_argument(f"--{name}", type=int)
    p.add_argument("--device", default="cpu"); p.add_argument("--precision", choices=TYPES, default="f32")
    p.add_argument("--bf16", action="store_const", dest="precision", const="bf16", help="--precision bf16")
    p.add_argument("--compile", action="store_true"); p.add_argument("--openvino", action="store_true"); p.add_argument("--cold", action="store_true"); p.add_argument("--bin"); p.add_argument("--json")
    p.add_argument("--ncu", default="ncu")
    p.add_argument("--inputs", help=argparse.SUPPRESS); p.add_argument("--reference", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.reference:
        return reference(a)
    if a.work == "limits":
        return limits(a)
    if not a.model or (a.work == "render") != bool(a.job):
        p.error("give a MODEL, and for renders a JOB")
    if a.openvino and (a.work not in ("unet", "decode") or a.device != "cpu"):
        p.error("--openvino is for the U-Net and the decoder on the CPU")
    if a.work == "profile":
        return profile(a)
    from safetensors.torch import load_file
    folder, program, again = tempfile.mkdtemp(), ours_at(a), [*sys.argv]
    a.bin = a.bin or "target/release"
    if a.work != "render":
        a.inputs = f"{folder}/inputs"
        inputs(a, a.inputs)
        again += ["--inputs", a.inputs]
        ours = server([program, a.model, a.inputs, "--device", a.device, "--precision", a.precision, "--threads", a.threads])
    else:
        ours = sega(a)
    plain = [word for word in again if word not in ("--compile", "--openvino")]
    theirs = lambda *how: server([sys.executable, *plain, *how, "--reference"])
    askers = {"ours": ours, "diffusers": theirs()}
    if a.compile:
        askers["compiled"] = theirs("--compile")
    if a.openvino:
        askers["openvino"] = theirs("--openvino")
    # What the reference does before it can begin would slow our first run.
    for name in list(askers)[1:]:
        askers[name].ready()
    figures, results = {name: [] for name in askers}, {}
    warm = 0 if a.cold else 1
    for run in range(a.runs + warm):
        for name, ask in askers.items():
            file = f"{folder}/{name}"
            figures[name].append(ask(a.work, file))
            tensors = load_file(file)
            results[name] = tensors.get("result", tensors.get("latents"))
    median = lambda name, column: statistics.median(row[column] for row in figures[name][warm:])
    peak = lambda name: max(row[2] for row in figures[name])
    for name, rows in figures.items():
        wall = [row[0] for row in rows[warm:]]
        line = f"{name:<10} passed: min {min(wall):9.1f} median {statistics.median(wall):9.1f} ms   processor: median {median(name, 1):9.1f} ms   peak {peak(name) / 1024:6.0f} MiB"
        if a.work == "render":
            line += f"   a step: {median(name, 3) / the_job(a)['steps']:7.1f} ms   first step after {rows[-1 if name == 'ours' else 0][4] / 1e3:.1f} s"
        print(line)
    # As the reference counts them, which the reference alone tells.
    operations = next((rows[0][5] for rows in figures.values() if len(rows[0]) > 5 and rows[0][5]), None)
    if operations:
        rates = ", ".join(f"{name} {operations / median(name, 0) / 1e9:.2f}" for name in askers)
        print(f"{operations:.3e} operations; a second, in 10^12: {rates}")
    kept = {key: getattr(a, key) for key in ("work", "model", "job", "concepts", "pictures", "pixels", "rows", "size", "device", "precision", "runs")}
    kept["operations"] = operations
    kept.update({name: dict(milliseconds=median(name, 0), peak_kib=peak(name), sampling=median(name, 3) if a.work == "render" else None) for name in askers})
    for name in list(askers)[1:]:
        theirs = results[name]
        difference = float((results["ours"] - theirs).abs().max() / theirs.abs().max())
        print(f"ours / {name}: passed {median('ours', 0) / median(name, 0):.2f}, processor {median('ours', 1) / median(name, 1):.2f}, "
              f"peak {peak('ours') / peak(name):.2f}; largest difference {difference:.1e}")
        kept[f"ours / {name}"] = dict(passed=median("ours", 0) / median(name, 0), peak=peak("ours") / peak(name), difference=difference)
    keep(a, kept)


if __name__ == "__main__":
    main()
