"""Stand-ins for arguments that are modules or functions: as simple as possible, and tolerant."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import torch.nn.functional as F  # noqa: N812 - the name that everyone knows
from torch import Tensor, nn

from layersmith.load.call.clue import PRIMES
from layersmith.load.constructor.names import ACTIVATION, NORM, WIDTH, plain
from layersmith.load.values import Made, TensorSpec

LOSS = re.compile(r"(^|_)loss(_|$)|criterion")
ADJACENCY = re.compile(r"(A|adj|adj_?mat|adj_?matrix|adj_mx|adjacency(_?mat(rix)?)?|A_hat|[Ll]aplacian)$")
NODES = PRIMES[0]  # as many as an input of [batch, nodes, features] is first guessed to have
IMAGES = re.compile(r"conv|backbone")
_OF_RECURRENT = {"hidden_size", "bidirectional", "batch_first"}  # what torch's recurrent layers alone have
WORDS = re.compile(r"(^|word_?|token_?)(emb(ed(der|dings?|s)?)?|lookup|wte)(_?(layer|matrix|table))?$")


class AnyModule(nn.Linear):
    """A linear map of the last dimension where it fits; anything else passes through."""

    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)
        self.dim = WIDTH

    def forward(self, input: Any = None, *_args: Any, **_kwargs: Any) -> Any:  # noqa: A002 - nn.Linear's name
        """The mapped input."""
        fits = isinstance(input, Tensor) and input.is_floating_point() and input.shape[-1:] == (WIDTH,)
        return super().forward(input) if fits else input


class Several(AnyModule):
    """Returns the mapped input more than once, as attention with its weights or a recurrent layer with its state."""

    def __init__(self, *parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """A tuple of so many parts; one of several tensors is a tuple itself."""
        mapped = super().forward(*args, **kwargs)
        return tuple(mapped if count == 1 else (mapped,) * count for count in self.parts)


class Layers(nn.Sequential):
    """Several such modules, one after the other: a net whose children are counted, or hooked."""

    def __init__(self) -> None:
        super().__init__(AnyModule(), nn.ReLU(), AnyModule())
        self.dim = WIDTH

    def forward(self, input: Any = None, *_args: Any, **_kwargs: Any) -> Any:  # noqa: A002 - nn.Linear's name
        """What the last of them gives."""
        for layer in self:
            input = layer(input)  # noqa: A001
        return input


def _stand_in(text: str, make: Callable[[], nn.Module]) -> Made:
    return Made(text, make, is_stand_in=True)


ANY_MODULE = _stand_in(f"nn.Linear({WIDTH}, {WIDTH})", AnyModule)
LAYERS = _stand_in(
    f"nn.Sequential(nn.Linear({WIDTH}, {WIDTH}), nn.ReLU(), nn.Linear({WIDTH}, {WIDTH}))", Layers
)
CONVOLUTION = _stand_in(
    f"nn.Conv2d({WIDTH}, {WIDTH}, 3, padding=1)", lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
)
IMAGE_CONVOLUTION = _stand_in(
    f"nn.Conv2d(3, {WIDTH}, 3, padding=1)", lambda: nn.Conv2d(3, WIDTH, 3, padding=1)
)
EMBEDDING = _stand_in(f"nn.Embedding(100, {WIDTH})", lambda: nn.Embedding(100, WIDTH))
_RECURRENT = [  # of words as one-hot vectors, or embedded
    _stand_in(f"nn.GRU({width}, {WIDTH})", functools.partial(nn.GRU, width, WIDTH)) for width in (100, WIDTH)
]
_LAYERS_BY_WIDTHS: list[tuple[set[str], set[str], Made]] = [  # what says so, what else it has, the layer
    (
        {"in_features", "out_features"},
        {*dir(nn.Linear), *nn.Linear.__constants__, "weight", "bias"},
        Made(f"nn.Linear({WIDTH}, {WIDTH})", lambda: nn.Linear(WIDTH, WIDTH)),
    ),
    (
        {"in_channels", "out_channels"},
        {*dir(nn.Conv2d), *nn.Conv2d.__constants__, "weight", "bias"},
        Made(f"nn.Conv2d({WIDTH}, {WIDTH}, 3, padding=1)", lambda: nn.Conv2d(WIDTH, WIDTH, 3, padding=1)),
    ),
]
ACTIVATION_MODULE = Made("nn.GELU()", nn.GELU)
MODULES = _stand_in(  # registered by the caller, where the class takes them as they are
    f"nn.ModuleList([{ANY_MODULE}, {ANY_MODULE}])", lambda: nn.ModuleList([AnyModule(), AnyModule()])
)


def as_wide(stand_in: Made, width: int) -> Made:
    """The stand-in with so many channels or features at its end."""
    if "Conv2d" in stand_in.text:
        made = _stand_in(f"nn.Conv2d(3, {width}, 3, padding=1)", lambda: nn.Conv2d(3, width, 3, padding=1))
    elif stand_in == EMBEDDING:
        made = _stand_in(f"nn.Embedding(100, {width})", lambda: nn.Embedding(100, width))
    else:
        made = _stand_in(f"nn.Linear({WIDTH}, {width})", lambda: nn.Linear(WIDTH, width))
    return made


def several(outputs: tuple[int, ...] = (), parts: int = 0, *, is_registered: bool = True) -> list[Any]:
    """Lists of modules, the likeliest first.

    Args:
        outputs: how many tensors each part of what one returns has; () for a single tensor.
        parts: how many modules a loop unpacks each item into: `for f, g in blocks`; 0 if it does not.
        is_registered: whether the class registers them; where it keeps them as they are, its caller has.
    """
    one = _returning(outputs) if outputs else ANY_MODULE
    pairs = [[(one,) * parts] * 2] if parts > 1 else []
    return [*pairs, *([] if is_registered or outputs else [MODULES]), [one, one]]


def _returning(outputs: tuple[int, ...]) -> Made:
    return _stand_in(f"Several({', '.join(map(str, outputs))})", lambda: Several(*outputs))


def layers(attributes: Collection[str]) -> list[Any]:
    """The layer of torch of which an argument's widths are read: `LoRA(linear.in_features, linear.out_features)`."""
    asked = {*attributes}
    return [layer for said, has, layer in _LAYERS_BY_WIDTHS if asked & said and asked <= has]


def modules(name: str, *, outputs: tuple[int, ...] = (), attributes: Collection[str] = ()) -> list[Any]:
    """Modules for a parameter of this name, the likeliest first.

    Args:
        name: of the parameter.
        outputs: how many tensors each part of what it returns has; () for a single tensor.
        attributes: what is read of it.
    """
    if _OF_RECURRENT & {*attributes}:
        return [*_RECURRENT]
    if outputs:
        return [_returning(outputs)]
    if read := layers(attributes):
        return [*read, ANY_MODULE]
    known = (
        (ACTIVATION, [ACTIVATION_MODULE]),
        (NORM, [Made(f"nn.LayerNorm({WIDTH})", lambda: nn.LayerNorm(WIDTH)), nn.LayerNorm]),
        (LOSS, [Made("nn.BCEWithLogitsLoss()", nn.BCEWithLogitsLoss), ANY_MODULE]),
        (IMAGES, [CONVOLUTION, IMAGE_CONVOLUTION, ANY_MODULE]),
        (WORDS, [EMBEDDING, ANY_MODULE]),
    )
    usual = [*([LAYERS] if "children" in attributes else []), ANY_MODULE, CONVOLUTION, EMBEDDING]
    return next((found for word, found in known if word.search(plain(name))), usual)


def callables(name: str, *, is_called_in_constructor: bool) -> list[Any]:
    """Classes and functions for a parameter that is called."""
    if ACTIVATION.search(plain(name)):
        called: list[Any] = [nn.GELU, F.gelu, ACTIVATION_MODULE]
        return called if is_called_in_constructor else [ACTIVATION_MODULE, F.gelu, nn.GELU]
    if NORM.search(plain(name)):
        return [nn.LayerNorm, nn.BatchNorm2d, nn.BatchNorm1d, nn.Identity]
    return [nn.Identity, nn.LayerNorm, nn.Linear, nn.Conv2d]


def of_nodes(
    name: str, kinds: Collection[str], passed_as: Iterable[inspect.Parameter]
) -> Iterator[TensorSpec]:
    """Which nodes of a graph know each other, where the own name says so or one that it is passed on as."""
    may_be_tensor = "tensor" in kinds or "number" not in kinds
    if may_be_tensor and any(map(ADJACENCY.match, (name, *(parameter.name for parameter in passed_as)))):
        yield TensorSpec((NODES, NODES), high=1)


def tensors(name: str) -> Iterator[TensorSpec]:
    """Tensors for a parameter that becomes a buffer or a weight."""
    if "mask" in name:
        yield TensorSpec((WIDTH,), high=1)
    if re.search(r"weight|pretrain|emb|matrix|vectors", name):
        yield TensorSpec((100, WIDTH))
    yield from (TensorSpec((WIDTH,)), TensorSpec((100, WIDTH)), TensorSpec((3, 3)))
