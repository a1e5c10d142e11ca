"""The oracle: a small network that reads a portrait's attributes from its picture.

Groups are the attributes of `world` with their values; each has its own logits. A value is undefined where the picture cannot show it: hair on animals and
robots, a colour that is nowhere or painted over by a style. `targets` says -1 there, and neither training nor accuracy counts it.

The network, exactly: input x, (n, 3, 128, 128), RGB in 0..1, NCHW; y = 2 x - 1; each of CONVOLUTIONS in turn (kernel, padding of kernel // 2 zeros on every
side, stride, bias), each followed by ReLU; flatten in the order channel, row, column; a linear layer to HIDDEN with ReLU; a linear layer to all logits. The
logits of a group are a slice; the largest is the value. No normalisation layers. oracle.json says the same for a program that reads the weights
(oracle.safetensors, half precision: `convN.weight` (out, in, k, k), `convN.bias`, `hidden.*`, `heads.*`, weights (out, in)).
"""
import json
import os

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

import world

SIZE = 128
CONVOLUTIONS = (   # channels in, channels out, kernel, stride
    (3, 24, 3, 2), (24, 48, 3, 2), (48, 64, 3, 1), (64, 96, 3, 2), (96, 96, 3, 1), (96, 128, 3, 2), (128, 128, 3, 1), (128, 32, 1, 1),
)
HIDDEN = 128
YES_NO = ("no", "yes")
GROUPS = {
    "subject": tuple(world.SUBJECTS), "hair": tuple(world.HAIR), "hair_colour": world.HAIR_COLOURS, "beard": YES_NO, "glasses": tuple(world.GLASSES),
    "mouth": tuple(world.MOUTH), "hat": tuple(world.HAT), "earrings": YES_NO, "scarf": YES_NO, "accent": world.ACCENT_COLOURS, "clothes": world.CLOTHES_COLOURS,
    "old": YES_NO, "freckles": YES_NO, "lipstick": YES_NO, "place": tuple(world.PLACE), "plain_colour": world.PLAIN_COLOURS, "fur": world.FUR_COLOURS,
    "style": tuple(world.STYLE),
}


def defined(a, group):
    """Whether the picture of attributes `a` shows a value of `group`."""
    if group == "hair":
        return world.is_person(a)
    if group in ("clothes", "hair_colour", "accent", "lipstick", "plain_colour", "fur") and a["style"] != "none":
        return False
    if group == "hair_colour":
        return a["beard"] or world.is_person(a) and a["hair"] != "bald"
    if group == "accent":
        return a["scarf"] or a["hat"] in ("cap", "beanie")
    if group == "plain_colour":
        return a["place"] == "plain"
    if group == "fur":
        return a["subject"] in world.FURRY
    return True


def targets(a):
    """For each group the number of its value in `a`, or -1 where undefined."""
    return [values.index(a[g]) if values is not YES_NO and defined(a, g) else int(a[g]) if defined(a, g) else -1 for g, values in GROUPS.items()]


class Oracle(nn.Module):
    def __init__(self):
        super().__init__()
        side = SIZE
        for k, (n, m, kernel, stride) in enumerate(CONVOLUTIONS):
            setattr(self, f"conv{k}", nn.Conv2d(n, m, kernel, stride, kernel // 2))
            side = (side + 2 * (kernel // 2) - kernel) // stride + 1
        self.hidden = nn.Linear(m * side * side, HIDDEN)
        self.heads = nn.Linear(HIDDEN, sum(map(len, GROUPS.values())))

    def forward(self, x):
        """All logits (n, sum of the groups' sizes) of pictures (n, 3, 128, 128) in 0..1."""
        y = x * 2 - 1
        for k in range(len(CONVOLUTIONS)):
            y = functional.relu(getattr(self, f"conv{k}")(y))
        return self.heads(functional.relu(self.hidden(y.flatten(1))))


def split(logits):
    """Group -> its logits."""
    return dict(zip(GROUPS, logits.split([len(v) for v in GROUPS.values()], -1)))


def read(net, pictures, batch=64):
    """Group -> numbers of the values that `net` sees in pictures (n, 3, 128, 128) in 0..1."""
    with torch.no_grad():
        logits = torch.cat([net(pictures[k:k + batch]) for k in range(0, len(pictures), batch)])
    return {g: l.argmax(-1) for g, l in split(logits).items()}


def index(group, value):
    """The number of a value: index("hat", "crown"), index("beard", True)."""
    return int(value) if GROUPS[group] is YES_NO else GROUPS[group].index(value)


def description():
    """oracle.json."""
    start, heads = 0, {}
    for g, values in GROUPS.items():
        heads[g] = {"start": start, "values": list(values)}
        start += len(values)
    return {"input": {"shape": [3, SIZE, SIZE], "layout": "NCHW", "range": [0, 1], "colours": "RGB", "scale": 2, "shift": -1},
            "convolutions": [{"name": f"conv{k}", "in": n, "out": m, "kernel": kernel, "stride": stride, "padding": kernel // 2, "activation": "relu"}
                             for k, (n, m, kernel, stride) in enumerate(CONVOLUTIONS)],
            "flatten": "channel, row, column", "hidden": {"name": "hidden", "out": HIDDEN, "activation": "relu"}, "heads": {"name": "heads", "out": start, "groups": heads}}


def save(net, folder):
    os.makedirs(folder, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, f"{folder}/oracle.safetensors")
    with open(f"{folder}/oracle.json", "w") as f:
        json.dump(description(), f, indent=1)


def load(folder):
    net = Oracle()
    net.load_state_dict({k: v.float() for k, v in load_file(f"{folder}/oracle.safetensors").items()})
    return net.eval()
