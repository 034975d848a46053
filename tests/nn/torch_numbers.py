"""Writes what torch computes for layers and losses, in float64: values, gradients, state.

    python tests/nn/torch_numbers.py       # with torch 2.13; nothing else needs torch

The numbers are in `tests/golden/nn/torch.json`; `test_torch.py` compares ours with them. Inputs and
parameters have three decimals, so that they are read as what they were. The gradients are those of
the sum of all results, each element times cos(its number).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

FILE = Path(__file__).parent.parent / "golden" / "nn" / "torch.json"
Case = tuple[nn.Module, list[Any]]
CASES: dict[str, Callable[[np.random.Generator], Case]] = {}
torch.set_default_dtype(torch.float64)


def case(function: Callable[[np.random.Generator], Case]) -> Callable[[np.random.Generator], Case]:
    """A case, by the name of the function."""
    CASES[function.__name__] = function
    return function


class Calls(nn.Module):
    """A function as a module, or a module called in another way."""

    def __init__(self, function: Callable[..., Any], inner: nn.Module | None = None) -> None:
        super().__init__()
        self.inner, self.function = inner, function

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs) if self.inner is None else self.function(self.inner, *inputs)


def some(rng: np.random.Generator, *shape: int, low: float = -1.5, high: float = 1.5) -> Any:
    """Floats with three decimals."""
    return rng.uniform(low, high, shape).round(3)


# -- layers ----------------------------------------------------------------------------------------
@case
def dense(rng: Any) -> Case:
    return nn.Linear(4, 3), [some(rng, 2, 5, 4)]


@case
def embedding(rng: Any) -> Case:
    return nn.Embedding(6, 3), [rng.integers(6, size=(2, 4))]


@case
def layer_norm(rng: Any) -> Case:
    return nn.LayerNorm(4), [some(rng, 3, 4)]


@case
def rms_norm(rng: Any) -> Case:
    return nn.RMSNorm(4, eps=1e-6), [some(rng, 3, 4)]


@case
def group_norm(rng: Any) -> Case:
    return nn.GroupNorm(2, 4), [some(rng, 3, 4, 2, 3)]


@case
def instance_norm(rng: Any) -> Case:
    return nn.InstanceNorm2d(4, affine=True), [some(rng, 3, 4, 2, 3)]


@case
def batch_norm(rng: Any) -> Case:
    return nn.BatchNorm1d(4, momentum=0.25), [some(rng, 5, 4)]


@case
def batch_norm_of_images(rng: Any) -> Case:
    return nn.BatchNorm2d(3, momentum=0.25), [some(rng, 2, 3, 2, 4)]


@case
def batch_norm_predicts(rng: Any) -> Case:
    layer = nn.BatchNorm2d(3)
    layer.running_mean = torch.tensor([0.25, -0.5, 1.0])
    layer.running_var = torch.tensor([0.5, 1.5, 2.0])
    return layer.eval(), [some(rng, 2, 3, 2, 4)]


# -- recurrent -------------------------------------------------------------------------------------
@case
def rnn(rng: Any) -> Case:
    return nn.RNN(3, 4, batch_first=True), [some(rng, 2, 5, 3)]


@case
def lstm(rng: Any) -> Case:
    return nn.LSTM(3, 4, batch_first=True), [some(rng, 2, 5, 3)]


@case
def gru(rng: Any) -> Case:
    return nn.GRU(3, 4, batch_first=True), [some(rng, 2, 5, 3)]


@case
def lstm_from_both_ends(rng: Any) -> Case:
    return nn.LSTM(3, 2, batch_first=True, bidirectional=True), [some(rng, 2, 5, 3)]


@case
def lstm_stacked(rng: Any) -> Case:
    return nn.LSTM(3, 2, num_layers=2, batch_first=True), [some(rng, 2, 5, 3)]


@case
def lstm_from_a_state(rng: Any) -> Case:
    layer = nn.LSTM(3, 2, batch_first=True)
    inputs = [some(rng, 2, 4, 3), some(rng, 1, 2, 2), some(rng, 1, 2, 2)]
    return Calls(lambda f, x, h, c: f(x, (h, c)), layer), inputs


@case
def gru_of_padded(rng: Any) -> Case:
    def padded(f: Any, x: Any, lengths: Any) -> Any:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, False)
        return f(packed)[1]

    return Calls(padded, nn.GRU(3, 2, batch_first=True)), [some(rng, 3, 4, 3), np.array([4, 1, 3])]


# -- convolutions and pooling ----------------------------------------------------------------------
@case
def conv1d(rng: Any) -> Case:
    return nn.Conv1d(3, 2, 3, stride=2, padding=1), [some(rng, 2, 3, 7)]


@case
def conv2d(rng: Any) -> Case:
    return nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0)), [some(rng, 2, 2, 5, 4)]


@case
def conv2d_dilated_in_groups(rng: Any) -> Case:
    return nn.Conv2d(4, 2, 2, dilation=2, groups=2), [some(rng, 2, 4, 4, 5)]


@case
def conv2d_depthwise(rng: Any) -> Case:
    return nn.Conv2d(2, 4, 3, groups=2, padding=1), [some(rng, 2, 2, 4, 4)]


@case
def conv2d_transpose(rng: Any) -> Case:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1)
    return layer, [some(rng, 2, 2, 3, 4)]


@case
def max_pool(rng: Any) -> Case:
    return nn.MaxPool2d(2), [some(rng, 2, 2, 4, 5)]


@case
def avg_pool(rng: Any) -> Case:
    return nn.AvgPool2d(2, stride=1), [some(rng, 2, 2, 3, 4)]


# -- attention -------------------------------------------------------------------------------------
@case
def attention(rng: Any) -> Case:
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    return Calls(lambda f, x: f(x, x, x, need_weights=False)[0], layer), [some(rng, 2, 5, 4)]


@case
def attention_across(rng: Any) -> Case:
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    inputs = [some(rng, 2, 3, 4), some(rng, 2, 5, 4)]
    return Calls(lambda f, q, m: f(q, m, m, need_weights=False)[0], layer), inputs


@case
def attention_causal(rng: Any) -> Case:
    layer = nn.MultiheadAttention(4, 2, batch_first=True)

    def causal(f: Any, x: Any) -> Any:
        later = torch.ones(5, 5, dtype=torch.bool).triu(1)
        return f(x, x, x, attn_mask=later, need_weights=False)[0]

    return Calls(causal, layer), [some(rng, 2, 5, 4)]


@case
def transformer_block(rng: Any) -> Case:
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", batch_first=True, norm_first=True)
    return layer, [some(rng, 2, 5, 4)]


@case
def transformer_block_normed_last(rng: Any) -> Case:
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0.0, "relu", batch_first=True)
    return layer, [some(rng, 2, 5, 4)]


# -- losses ----------------------------------------------------------------------------------------
def loss(name: str, module: nn.Module, inputs: Callable[[Any], list[Any]]) -> None:
    CASES[name] = lambda rng: (module, inputs(rng))


def each(module: type[nn.Module], **options: Any) -> nn.Module:
    return module(reduction="none", **options)


def classes(rng: Any) -> list[Any]:
    return [some(rng, 5, 4, low=-3, high=3), rng.integers(4, size=5)]


def pairs(rng: Any) -> list[Any]:
    return [some(rng, 5, 3), some(rng, 5, 3)]


def chances(rng: Any) -> list[Any]:
    return [some(rng, 5, 3, low=0.05, high=0.95), rng.integers(2, size=(5, 3)).astype(float)]


loss("cross_entropy", each(nn.CrossEntropyLoss), classes)
loss("cross_entropy_smooth", each(nn.CrossEntropyLoss, label_smoothing=0.2), classes)
WEIGHTS = torch.tensor([0.5, 2.0, 1.0, 0.25])
loss("cross_entropy_weighted", nn.CrossEntropyLoss(WEIGHTS), classes)
loss("binary_from_logits", each(nn.BCEWithLogitsLoss), chances)
loss("binary", each(nn.BCELoss), chances)
loss("squared", each(nn.MSELoss), pairs)
loss("absolute", each(nn.L1Loss), pairs)
loss("huber", each(nn.HuberLoss, delta=0.5), pairs)
loss("poisson", each(nn.PoissonNLLLoss, log_input=False, eps=0.0), lambda rng: [
    some(rng, 5, 3, low=0.2, high=3), rng.integers(4, size=(5, 3)).astype(float)
])  # fmt: skip
loss("cosine", Calls(lambda p, t: -nn.functional.cosine_similarity(p, t, dim=-1)), pairs)
loss(
    "divergence",
    Calls(lambda p, t: nn.functional.kl_div(p.log(), t, reduction="none").sum(-1)),
    lambda rng: [some(rng, 5, 3, low=0.1, high=1), some(rng, 5, 3, low=0.1, high=1)],
)


@case
def ctc(rng: Any) -> Case:
    targets = np.array([[1, 2, 2], [3, 1, 0], [2, 0, 0]])
    lengths = np.array([6, 6, 4]), np.array([3, 2, 1])

    def per_example(logits: Any, targets: Any, inputs: Any, labels: Any) -> Any:
        logs = logits.log_softmax(-1).transpose(0, 1)
        f = nn.CTCLoss(reduction="none")
        return f(logs, targets, inputs, labels)

    return Calls(per_example), [some(rng, 3, 6, 4), targets, *lengths]


# -- running ---------------------------------------------------------------------------------------
def numbers(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array.tolist()
    flat = [float(f"{v:.13g}") for v in array.ravel()]
    return np.reshape(flat, array.shape).tolist()


def run(name: str) -> dict[str, Any]:
    """What torch gives for a case."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    module, arrays = CASES[name](rng)
    for parameter in module.parameters():
        parameter.data = torch.tensor(some(rng, *parameter.shape, low=-0.9, high=0.9))
    inputs = [torch.tensor(a) for a in arrays]
    floats = {f"input{i}": x for i, x in enumerate(inputs) if x.is_floating_point()}
    watched = {name: x.requires_grad_() for name, x in floats.items()}
    watched |= dict(module.named_parameters())
    results = module(*inputs)
    flat = list(_leaves(results))
    total = sum((r * torch.arange(r.numel()).reshape(r.shape).cos()).sum() for r in flat)
    slopes = torch.autograd.grad(total, list(watched.values()), allow_unused=True)
    return {
        "inputs": [numbers(a) for a in arrays],
        "parameters": {n: numbers(p.data) for n, p in module.named_parameters()},
        "results": [numbers(r.detach()) for r in flat],
        "gradients": {
            n: numbers(g) for n, g in zip(watched, slopes, strict=True) if g is not None
        },
        "state": {
            n: numbers(b) for n, b in module.named_buffers() if b.is_floating_point()
        },
    }  # fmt: skip


def _leaves(results: Any) -> Any:
    if isinstance(results, torch.Tensor):
        yield results
    else:
        for part in results:
            yield from _leaves(part)


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    lines = [f" {json.dumps(name)}: {json.dumps(run(name))}" for name in CASES]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
