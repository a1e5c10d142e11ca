"""Times one evaluation of a model's U-Net by this crate and by diffusers, alternately in one run.

usage: unet.py MODEL [--rows N] [--size N] [--runs N] [--threads N] [--isa NAME]
MODEL is a folder in diffusers' layout. First build ours: cargo build --release --bench kernels
Times are of the processor, all threads together, in ms. Ours computes the rows' common part once, as it does in a render.
Peak memory is that of each whole process; ours holds the text encoder and the decoder as well.
The equality of the results is tests/network.rs's business.
"""
import argparse, glob, os, resource, statistics, subprocess, sys, time
import torch
from diffusers import UNet2DConditionModel


def reference(a):
    """The reference's process: a line for each time it is asked."""
    torch.set_num_threads(a.threads)
    unet = UNet2DConditionModel.from_pretrained(f"{a.model}/unet", torch_dtype=torch.float32).eval()
    tokens, width = 77, unet.config.cross_attention_dim
    latents = torch.randn(1, unet.config.in_channels, a.size, a.size).repeat(a.rows, 1, 1, 1)
    text = torch.randn(a.rows, tokens, width)
    with torch.no_grad():
        unet(latents, 500, encoder_hidden_states=text)
        for _ in sys.stdin:
            began = time.process_time()
            unet(latents, 500, encoder_hidden_states=text)
            print((time.process_time() - began) * 1e3, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)


def ours(a):
    program = max((f for f in glob.glob("target/release/deps/kernels-*") if os.access(f, os.X_OK)), key=os.path.getmtime)
    command = [program, a.model, "--alone", "--runs", "2", "--rows", a.rows, "--size", a.size, "--threads", a.threads]
    command += ["--isa", a.isa] if a.isa else []
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit("ours failed")
    line = next(line for line in text.splitlines() if line.startswith("u-net"))
    return float(line.split()[1]), usage.ru_maxrss


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    for name, value in dict(rows=4, size=16, runs=5, threads=1).items():
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--isa"); p.add_argument("--reference", action="store_true", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.reference:
        return reference(a)
    peer = subprocess.Popen([sys.executable, *sys.argv, "--reference"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    times, peaks = {"ours": [], "diffusers": []}, {}
    for _ in range(a.runs):
        peer.stdin.write("\n"); peer.stdin.flush()
        for name, (took, peak) in (("diffusers", map(float, peer.stdout.readline().split())), ("ours", ours(a))):
            times[name].append(took); peaks[name] = peak / 1024
    peer.stdin.close()
    for name, all_times in times.items():
        print(f"{name:<10} min {min(all_times):10.1f}  median {statistics.median(all_times):10.1f}  peak {peaks[name]:6.0f} MiB")
    print(f"ratio of medians {statistics.median(times['ours']) / statistics.median(times['diffusers']):.2f}")


if __name__ == "__main__":
    main()
