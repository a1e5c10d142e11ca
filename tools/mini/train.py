"""Trains mini's U-Net and text encoder together.

usage: train.py STATE --latents FOLDER --minutes M [--init CHECKPOINT] [--workers 2] [--batch 64] [--rate 1e-3] [--seed 0] [--device cpu|cuda]
       train.py STATE --export CHECKPOINT --vae FOLDER
Training goes on from STATE/state.pt where that exists; it is written every few minutes (to a new file, then renamed), and at the end. M counts the minutes of
training over all runs: the rate rises for 200 iterations, stays, and falls as a cosine from 45 % of M to its end. A larger M in a later run extends it. A file STATE/stop
ends a run early, its state written.
STATE/log.csv: iteration, samples, minutes, loss (smoothed, weighted), rate, samples per second.
--init starts from the weights of a checkpoint (diffusers' layout) with a fresh optimizer. New chunks of latents are found when training is started again.

How: epsilon prediction with min-SNR weighting (gamma 5) and more weight on the cells of the mouth (`emphasis`), timesteps stratified over a batch, AdamW (.9, .99),
gradient norm clipped to 1, moving average of the weights. Networks compute in bfloat16; weights, moments and average are float32, each in one flat tensor. On a CPU each worker is a process of one thread and
takes its share of the batch: many small operations run better so than with threads that wait for each other. Random numbers follow from seed, iteration
and worker, so a resumed run draws what an uninterrupted one would have drawn.
"""
import argparse
import glob
import math
import os
import random
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

import captions
import features
import model
import tokenizer
import world

WARMUP, DECAY_FROM, AVERAGE, GAMMA, SAVE_EVERY, MOUTH_WEIGHT = 200, .45, .999, 5, 240, 6


class Weights:
    """The parameters of both networks: `master`, `average` and the optimizer in float32; `working` and `gradient` in the type that the networks compute in."""

    def __init__(self, networks, device, dtype):
        parameters = [p for n in networks for p in n.parameters()]
        self.master = torch.cat([p.detach().flatten().float() for p in parameters]).to(device)
        self.average = self.master.clone()
        self.working = self.master.to(dtype)
        self.gradient = torch.zeros_like(self.working)
        self.master.grad = torch.zeros_like(self.master)
        at = 0
        for p in parameters:
            p.data = self.working[at:at + p.numel()].view(p.shape)
            p.grad = self.gradient[at:at + p.numel()].view(p.shape)
            at += p.numel()
        self.optimizer = torch.optim.AdamW([self.master], betas=(.9, .99), weight_decay=1e-2, fused=True)

    def step(self, rate, iteration, workers):
        if workers > 1:
            dist.all_reduce(self.gradient)
        self.master.grad.copy_(self.gradient).div_(workers)
        norm = self.master.grad.norm()
        self.master.grad.mul_((1 / (norm + 1e-6)).clamp(max=1))
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.average.lerp_(self.master, 1 - min(AVERAGE, (1 + iteration) / (10 + iteration)))
        self.working.copy_(self.master)
        self.gradient.zero_()

    def state(self):
        return {"master": self.master, "average": self.average, "optimizer": self.optimizer.state_dict()}

    def load(self, state):
        self.master.copy_(state["master"])
        self.average.copy_(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.working.copy_(self.master)


def load_latents(folder):
    """(latents float32 scaled to deviation 1, portrait numbers, scale)."""
    paths = sorted(glob.glob(f"{folder}/*.safetensors"))
    chunks = [load_file(p)["latents"].float() for p in paths]
    numbers = [int(os.path.basename(p).split(".")[0]) + k for p, chunk in zip(paths, chunks) for k in range(len(chunk))]
    latents = torch.cat(chunks)
    return latents, numbers, float(1 / latents.std())


def rate_at(iteration, done, top):
    """Learning rate; `done` is the share of the training time that has passed."""
    fall = 1 if done < DECAY_FROM else .5 * (1 + math.cos(math.pi * min(1, (done - DECAY_FROM) / (1 - DECAY_FROM)))) * .98 + .02
    return top * min(1, (iteration + 1) / WARMUP) * fall


def batch(iteration, worker, args, latents, numbers, portraits, encode, signal):
    """One worker's noisy latents, their noise, timesteps, token numbers and weights."""
    share = args.batch // args.workers
    seed = (args.seed * 1_000_003 + iteration) * 64 + worker
    rng, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    chosen = [rng.randrange(len(numbers)) for _ in range(share)]
    ids = torch.tensor([encode(captions.caption(portraits[k], rng)) for k in chosen])
    clean = latents[chosen]
    noise = torch.randn(clean.shape, generator=generator)
    slots = torch.arange(share) * args.workers + worker
    t = ((slots + torch.rand(share, generator=generator)) / (share * args.workers) * model.TIMESTEPS).long().clamp(max=model.TIMESTEPS - 1)
    s = signal[t].view(-1, 1, 1, 1)
    ratio = signal[t] / (1 - signal[t])
    return clean * s.sqrt() + noise * (1 - s).sqrt(), noise, t, ids, ratio.clamp(max=GAMMA) / ratio


def emphasis(size):
    """Weights of the loss by place, (size, size): MOUTH_WEIGHT on the latent cells about the mouth, 1 elsewhere.

    A mouth is 2 % of the picture and decides five attributes; unweighted, its share of the gradient is so small that it is still left to chance when all
    else is learned. The best estimate of the noise is the same at any weight, so this changes what is learned first, not what is learned."""
    at = (torch.arange(size) + .5) / size
    rows, columns = (at - features.MOUTH_Y).abs() < .10, (at - .5).abs() < .17
    return 1 + (MOUTH_WEIGHT - 1) * (rows[:, None] & columns[None, :]).float()


def build(args, device, dtype):
    torch.manual_seed(args.seed)
    network, text = model.unet(), model.text_encoder()
    if args.init and not os.path.exists(f"{args.state}/state.pt"):
        copied, left = model.start_from(args.init, network, text)
        print(f"{copied} tensors from {args.init}, {left} not", flush=True)
    if device == "cpu":
        network.set_attn_processor(model.PlainAttention())
        text.set_attn_implementation("eager")
    network, text = network.to(device), text.to(device)
    return network, text, Weights((network, text), device, dtype)


def work(worker, args):
    torch.set_num_threads(1 if args.device == "cpu" else 4)
    if args.workers > 1:
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(args.port))
        dist.init_process_group("gloo", rank=worker, world_size=args.workers)
    device, dtype = args.device, torch.bfloat16
    network, text, weights = build(args, device, dtype)
    latents, numbers, scale = load_latents(args.latents)
    latents, portraits = latents * scale, [world.portrait(n) for n in numbers]
    iteration, before, minutes = 0, 0.0, 0.0
    path = f"{args.state}/state.pt"
    if os.path.exists(path):
        state = torch.load(path, map_location="cpu")
        weights.load(state)
        iteration, before, scale = state["iteration"], state["minutes"], state["scale"]
        minutes = before
        latents = load_latents(args.latents)[0] * scale
    encode, signal, places = tokenizer.encoder(), model.signal_shares(), emphasis(latents.shape[-1]).to(device)
    begin = saved = logged = time.time()
    smooth, samples = None, 0
    while True:
        clock = torch.tensor([math.inf if os.path.exists(f"{args.state}/stop") else before + (time.time() - begin) / 60])
        if args.workers > 1:
            dist.broadcast(clock, 0)        # all workers agree on the rate and on the end
        if clock.item() >= args.minutes:
            break
        minutes = clock.item()
        x, noise, t, ids, importance = batch(iteration, worker, args, latents, numbers, portraits, encode, signal)
        estimate = network(x.to(device, dtype), t.to(device), encoder_hidden_states=text(ids.to(device))[0], return_dict=False)[0].float()
        loss = (((estimate - noise.to(device)) ** 2 * places).mean((1, 2, 3)) * importance.to(device)).mean()
        loss.backward()
        rate = rate_at(iteration, minutes / args.minutes, args.rate)
        weights.step(rate, iteration, args.workers)
        iteration += 1
        samples += args.batch
        if worker:
            continue
        smooth = loss.item() if smooth is None else smooth * .98 + loss.item() * .02
        if iteration % 25 == 0:
            line = f"{iteration},{iteration * args.batch},{minutes:.2f},{smooth:.5f},{rate:.6f},{samples / (time.time() - logged):.1f}"
            print(line, flush=True)
            with open(f"{args.state}/log.csv", "a") as f:
                f.write(line + "\n")
            samples, logged = 0, time.time()
        if time.time() - saved > SAVE_EVERY:
            save(path, weights, iteration, minutes, scale)
            saved = time.time()
    if not worker:
        save(path, weights, iteration, minutes, scale)
        print(f"done: {iteration} iterations, {minutes:.1f} minutes", flush=True)


def save(path, weights, iteration, minutes, scale):
    torch.save({**weights.state(), "iteration": iteration, "minutes": minutes, "scale": scale}, path + ".part")
    os.replace(path + ".part", path)


def export(args):
    """Writes the averaged weights of STATE as a checkpoint."""
    network, text, weights = build(args, "cpu", torch.float32)
    state = torch.load(f"{args.state}/state.pt", map_location="cpu")
    weights.working.copy_(state["average"])
    for net in (network, text):
        for p in net.parameters():
            p.data, p.grad = p.data.clone(), None
    size = model.export(args.export, network, text, args.vae, state["scale"])
    print(f"{args.export}: iteration {state['iteration']}, {size / 2 ** 20:.1f} MiB")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("state")
    p.add_argument("--latents")
    p.add_argument("--minutes", type=float)
    p.add_argument("--init")
    p.add_argument("--workers", type=int)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--device", default="cpu")
    p.add_argument("--port", type=int, default=29517)
    p.add_argument("--export")
    p.add_argument("--vae")
    args = p.parse_args()
    if args.export:
        return export(args)
    args.workers = args.workers or (os.cpu_count() if args.device == "cpu" else 1)
    args.batch -= args.batch % args.workers
    os.makedirs(args.state, exist_ok=True)
    if args.workers == 1:
        work(0, args)
    else:
        mp.spawn(work, (args,), nprocs=args.workers)


if __name__ == "__main__":
    main()
