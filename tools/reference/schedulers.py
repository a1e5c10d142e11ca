"""Writes what diffusers' schedulers do in double precision: tests/reference/schedulers/*.jsonl.

usage: schedulers.py     (with the interpreter that setup.sh makes)
Each line is a case: the configuration, and the latents at the end of a run with a made-up network, `tanh(0.8 x + sin(t / 200))` of the
scaled latents x and the timestep t, from three made-up latents and with made-up noise. diffusers computes its tables in single
precision; here its own source runs with every `float32` replaced by `float64`.
"""
import importlib, inspect, itertools, json, math, pathlib, types
import torch

CLASSES = dict(ddim="DDIM", ddpm="DDPM", euler="EulerDiscrete", pndm="PNDM", lms="LMSDiscrete", heun="HeunDiscrete", unipc="UniPCMultistep", lcm="LCM")
CLASSES |= {"euler-ancestral": "EulerAncestralDiscrete", "dpmpp-2m": "DPMSolverMultistep"}
FILES = {"ddim": "ddim", "ddpm": "ddpm", "euler": "euler_discrete", "euler-ancestral": "euler_ancestral_discrete", "dpmpp-2m": "dpmsolver_multistep",
         "pndm": "pndm", "lms": "lms_discrete", "heun": "heun_discrete", "unipc": "unipc_multistep", "lcm": "lcm"}
KARRAS = ("euler", "dpmpp-2m", "lms", "heun", "unipc")


class Noise:
    """Stands in for a random generator: the k-th draw is cos(k + 1), cos(k + 2), cos(k + 3), k = 10, 20, ..."""

    def __init__(self):
        self.draws = 0

    def __call__(self, shape, **_):
        self.draws += 1
        return torch.tensor([math.cos(10 * self.draws + i) for i in (1, 2, 3)], dtype=torch.float64).reshape(shape)


def double(word, noise):
    """The scheduler's class in double precision, drawing from `noise`."""
    original = importlib.import_module(f"diffusers.schedulers.scheduling_{FILES[word]}")
    module = types.ModuleType(original.__name__)
    module.__package__ = original.__package__
    source = inspect.getsource(original).replace("float32", "float64").replace("timesteps.to(dtype=torch.float64)", "timesteps")
    exec(compile(source, original.__file__, "exec"), module.__dict__)
    module.randn_tensor = noise
    return getattr(module, CLASSES[word] + "Scheduler")


def run(word, case):
    noise = Noise()
    options = dict(beta_start=case["beta_start"], beta_end=case["beta_end"], beta_schedule=case["beta_schedule"], num_train_timesteps=1000,
                   prediction_type=case["prediction"])
    if case["spacing"]:
        options["timestep_spacing"] = case["spacing"]
    options["steps_offset"] = case["offset"]
    if case["alpha_to_one"] is not None:
        options["set_alpha_to_one"] = case["alpha_to_one"]
    if case["karras"]:
        options["use_karras_sigmas"] = True
    if word in ("ddim", "ddpm"):
        options["clip_sample"] = False
    if word == "pndm":
        options["skip_prk_steps"] = True
    if "distilled" in case:
        options |= dict(original_inference_steps=case["distilled"], timestep_scaling=case["scaling"])
    made = double(word, noise)
    # What `from_config` does with a key that a scheduler does not have: nothing.
    if case.get("zero_snr") and "rescale_betas_zero_snr" in inspect.signature(made.__init__).parameters:
        options["rescale_betas_zero_snr"] = True
    scheduler = made(**options)
    scheduler.set_timesteps(case["steps"])
    sample = torch.tensor([0.5, -1.25, 2.0], dtype=torch.float64).reshape(1, 1, 1, 3) * scheduler.init_noise_sigma
    more = dict(eta=case["eta"]) if word == "ddim" else {}
    timesteps = []
    for t in scheduler.timesteps:
        x = scheduler.scale_model_input(sample, t)
        output = torch.tanh(0.8 * x + math.sin(float(t) / 200))
        sample = scheduler.step(output, t, sample, **more).prev_sample
        timesteps.append(float(t))
    return dict(timesteps=[timesteps[0], timesteps[-1], sum(timesteps)], evaluations=len(timesteps), draws=noise.draws, sample=sample.flatten().tolist())


def cases(word):
    base = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction="epsilon", spacing=None, offset=1, alpha_to_one=None,
                karras=False, eta=0.0)
    spacings = [None, "leading", "linspace", "trailing"] if word != "lcm" else [None]
    for steps, prediction, spacing in itertools.product([1, 2, 3, 7, 20, 50], ["epsilon", "v_prediction"], spacings):
        yield base | dict(steps=steps, prediction=prediction, spacing=spacing)
    for schedule, start, end in (("linear", 1e-4, 0.02), ("squaredcos_cap_v2", 1e-4, 0.02)):
        yield base | dict(steps=12, beta_schedule=schedule, beta_start=start, beta_end=end)
    yield base | dict(steps=12, offset=0)
    if word in ("ddim", "pndm"):
        for steps, to_one in itertools.product([2, 12], [True, False]):
            yield base | dict(steps=steps, alpha_to_one=to_one, offset=0)
    if word == "ddim":
        for steps, eta in itertools.product([1, 2, 12], [0.3, 1.0]):
            yield base | dict(steps=steps, eta=eta)
    if word in KARRAS:
        for steps, prediction in itertools.product([2, 5, 20], ["epsilon", "v_prediction"]):
            yield base | dict(steps=steps, prediction=prediction, karras=True)
        yield base | dict(steps=9, karras=True, spacing="leading")
    if word == "lcm":
        for steps, (distilled, scaling) in itertools.product([1, 4, 8], [(50, 10.0), (40, 1.0), (100, 10.0)]):
            yield base | dict(steps=steps, distilled=distilled, scaling=scaling)
    # diffusers' ddim and ddpm divide by the nothing that is left of the signal; the others have a floor, pndm, lms and heun not this option.
    if word in ("euler", "euler-ancestral", "dpmpp-2m", "unipc"):
        for spacing in ("leading", "trailing"):
            yield base | dict(steps=12, prediction="v_prediction", spacing=spacing, zero_snr=True)
    if word in ("pndm", "lms", "heun"):
        yield base | dict(steps=12, prediction="v_prediction", zero_snr=True)


def main():
    # Of whole timesteps times a number, too.
    torch.set_default_dtype(torch.float64)
    out = pathlib.Path(__file__).resolve().parents[2] / "tests" / "reference" / "schedulers"
    out.mkdir(parents=True, exist_ok=True)
    for word in CLASSES:
        lines = []
        for case in cases(word):
            try:
                result = run(word, case)
            except Exception as fault:
                print("diffusers cannot:", word, case, repr(fault)[:90])
                continue
            if not all(map(math.isfinite, result["sample"])):
                print("diffusers gives no number:", word, case)
                continue
            lines.append(json.dumps(case | result, separators=(",", ":")))
        half = len(lines) // 2
        for name, part in ((word, lines[:half]), (word + "-more", lines[half:])):
            (out / f"{name}.jsonl").write_text("\n".join(part) + "\n")
        print(word, len(lines), "cases")


if __name__ == "__main__":
    main()
