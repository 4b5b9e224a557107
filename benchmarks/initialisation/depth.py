"""Does signal survive depth, and does the network train? Plain and residual stacks, linear and convolutional.

    python benchmarks/initialisation/depth.py            # a few minutes
    python benchmarks/initialisation/depth.py --full     # hours on one core: depth 200 and 1000 are trained too

A cell is one network under one way to initialise it. *Signal*: the std of what the layers (or residual blocks)
give, and of the gradients that arrive there, stay within a factor of 3 from the first to the last. *Trained*:
cross-entropy on the digits of scikit-learn falls to a tenth of log(10), as a mean of 5 batches, within 100 steps
of Adam with clipped gradients; the learning rate falls with depth and is the same for all.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from layersmith.errors import UsageError
from layersmith.repair import initialize_

FACTOR, STEPS, ROWS, WIDTH, CHANNELS = 3.0, 100, 128, 64, 8
METHODS = ("torch", "kaiming/xavier", "lsuv", "ours")
DEPTHS = (10, 50, 200, 1000)
NETS = ("plain linear", "residual linear", "plain conv", "residual conv")


class Own(nn.Module):
    """An activation as users write them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.function(x)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "ReLU": nn.ReLU,
    "Tanh": nn.Tanh,
    "GELU": nn.GELU,
    "0.5 * clamp(x, 0)": lambda: Own(lambda x: 0.5 * torch.clamp(x, min=0)),  # the tutorial's
    "Sigmoid": nn.Sigmoid,
    "SiLU": nn.SiLU,
    "x + sin(x)^2": lambda: Own(lambda x: x + torch.sin(x) ** 2),  # Snake
    "ELU": nn.ELU,
    "Softplus": nn.Softplus,
    "sin(x)": lambda: Own(torch.sin),
    "Softsign": nn.Softsign,
    "Hardtanh": nn.Hardtanh,
    "LeakyReLU(0.2)": lambda: nn.LeakyReLU(0.2),
    "Mish": nn.Mish,
}


class Block(nn.Module):
    """x + second(activation(first(x)))."""

    def __init__(self, first: nn.Module, activation: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.activation, self.second = first, activation, second

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch."""
        result: Tensor = x + self.second(self.activation(self.first(x)))
        return result


@dataclass(frozen=True)
class Cell:
    """One network under one way to initialise it."""

    net: str
    depth: int
    activation: str
    method: str
    forward: float  # largest over smallest std of the signal
    backward: float  # and of the gradient
    loss: float | None  # the lowest mean of 5 batches; None where it was not trained

    @property
    def has_signal(self) -> bool:
        """Whether both stay within the factor."""
        return self.forward <= FACTOR and self.backward <= FACTOR

    @property
    def is_trained(self) -> bool:
        """Whether the loss fell by nine tenths."""
        return self.loss is not None and self.loss <= math.log(10) / 10


def network(net: str, depth: int, activation: Callable[[], nn.Module]) -> nn.Sequential:
    """`depth` layers with weights, the last of which makes the logits."""
    is_linear = net.endswith("linear")

    def layer(first: int, second: int) -> nn.Module:
        return nn.Linear(first, second) if is_linear else nn.Conv2d(first, second, 3, padding=1)

    width = WIDTH if is_linear else CHANNELS
    body: list[nn.Module] = [layer(64 if is_linear else 1, width)]
    if net.startswith("residual"):
        body += [
            Block(layer(width, width), activation(), layer(width, width)) for _ in range((depth - 2) // 2)
        ]
    else:
        for _ in range(depth - 2):
            body += [activation(), layer(width, width)]
    if is_linear:
        return nn.Sequential(*body, activation(), nn.Linear(width, 10))
    return nn.Sequential(*body, activation(), nn.Flatten(), nn.Linear(64 * width, 10))


def start(model: nn.Module, method: str, activation: str, rows: Tensor) -> None:
    """Draw the weights."""
    generator = torch.Generator().manual_seed(1)
    if method == "ours":
        initialize_(model, rows, generator=generator)
    elif method == "lsuv":
        initialize_(model, rows, method="lsuv", generator=generator)
    elif method == "kaiming/xavier":
        by_name: dict[str, Any] = {"Tanh": "tanh", "Sigmoid": "sigmoid", "LeakyReLU(0.2)": "leaky_relu"}
        for layer in model.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                if activation in {"Tanh", "Sigmoid"}:
                    nn.init.xavier_normal_(
                        layer.weight, nn.init.calculate_gain(by_name[activation]), generator=generator
                    )
                else:  # torch has no name for most: people take ReLU's
                    name = by_name.get(activation, "relu")
                    nn.init.kaiming_normal_(layer.weight, 0.2, nonlinearity=name, generator=generator)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)


def spreads(model: nn.Sequential, rows: Tensor) -> tuple[float, float]:
    """Largest over smallest std after the layers before the head: of the signal, and of its gradient."""
    after: list[Tensor] = []
    for layer in [*model][:-1]:
        rows = layer(rows)
        if isinstance(layer, nn.Linear | nn.Conv2d | Block):
            rows.retain_grad()
            after.append(rows)
    output = [*model][-1](rows)
    (output * torch.randn(output.shape, generator=torch.Generator().manual_seed(0))).sum().backward()
    model.zero_grad()
    gradients = [one.grad for one in after if one.grad is not None]
    return _ratio([float(one.detach().double().std()) for one in after]), _ratio(
        [float(one.double().std()) for one in gradients]
    )


def _ratio(values: list[float]) -> float:
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        return math.inf
    return max(values) / min(values)


def train(model: nn.Module, x: Tensor, y: Tensor, depth: int) -> float:
    """The lowest mean of 5 batches' loss."""
    optimizer = torch.optim.Adam(model.parameters(), lr=min(1e-3, 0.06 / depth))
    generator = torch.Generator().manual_seed(0)
    losses: list[float] = []
    best = math.inf
    for _ in range(STEPS):
        some = torch.randint(0, len(x), (ROWS,), generator=generator)
        loss = functional.cross_entropy(model(x[some]), y[some])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        best = min(best, sum(losses[-5:]) / 5 if len(losses) >= 5 else math.inf)
        if not math.isfinite(losses[-1]) or best <= math.log(10) / 10:
            break
    return best


def measure(net: str, depth: int, activation: str, method: str, *, trains: bool) -> Cell:
    """Build, initialise, measure, and perhaps train."""
    x, y = digits()
    x = x if net.endswith("linear") else x.view(-1, 1, 8, 8)
    torch.manual_seed(0)
    model = network(net, depth, ACTIVATIONS[activation])
    try:
        start(model, method, activation, x[:64])
    except UsageError:
        return Cell(net, depth, activation, method, math.inf, math.inf, math.inf if trains else None)
    forward, backward = spreads(model, x[:64])
    return Cell(
        net, depth, activation, method, forward, backward, train(model, x, y, depth) if trains else None
    )


def digits() -> tuple[Tensor, Tensor]:
    """Standardised pixels and labels."""
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32)
    return (x - x.mean(0)) / x.std(0).clamp(min=0.1), torch.tensor(data.target)


def table(cells: list[Cell]) -> Iterator[str]:
    """A row for each kind of network and depth: signal / trained of the activations, for each method."""
    rows: dict[tuple[str, int], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        rows[cell.net, cell.depth][cell.method].append(cell)
    yield f"{'network':18}{'depth':>6}" + "".join(f"{method:>22}" for method in METHODS)
    for (net, depth), methods in sorted(rows.items(), key=lambda item: (NETS.index(item[0][0]), item[0][1])):
        yield f"{net:18}{depth:6}" + "".join(f"{_shares(methods[method]):>22}" for method in METHODS)


def _shares(cells: list[Cell]) -> str:
    tried = [cell for cell in cells if cell.loss is not None]
    signal = f"{sum(cell.has_signal for cell in cells)}/{len(cells)} signal"
    return signal + (f" {sum(cell.is_trained for cell in tried)}/{len(tried)} tr." if tried else "")


def main() -> None:
    """Measure and print; each cell goes to a file of JSON lines as soon as it is known."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS)
    parser.add_argument("--depths", nargs="+", type=int)
    parser.add_argument("--trained-depths", nargs="*", type=int)
    parser.add_argument("--activations", type=int, default=0, help="the first so many (default: all)")
    parser.add_argument("--output", type=Path, help="a file of JSON lines, one a cell; appended to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    depths = arguments.depths or (DEPTHS if arguments.full else (10, 50))
    trained = arguments.trained_depths
    trained = (DEPTHS if arguments.full else (10,)) if trained is None else trained
    names = [*ACTIVATIONS][: arguments.activations or len(ACTIVATIONS)]
    cells, began = [], time.perf_counter()
    for depth in depths:
        for net in arguments.nets:
            for name in names:
                for method in METHODS:
                    cells.append(measure(net, depth, name, method, trains=depth in trained))
                    if arguments.output:
                        with arguments.output.open("a") as file:
                            file.write(json.dumps(asdict(cells[-1])) + "\n")
    print("\n".join(table(cells)))
    print(f"{len(cells)} cells of {len(names)} activations in {time.perf_counter() - began:.0f} s")
    for cell in cells:
        if cell.method == "ours" and not (cell.has_signal and (cell.loss is None or cell.is_trained)):
            numbers = f"{cell.forward:.3g} {cell.backward:.3g} {cell.loss}"
            print(f"ours misses: {cell.net} {cell.depth} {cell.activation}: {numbers}")


if __name__ == "__main__":
    main()
