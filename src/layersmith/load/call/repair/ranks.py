"""What errors say about the number of dimensions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

import torch

from layersmith.load.call.callee import State
from layersmith.load.call.clue import Clue, shaped
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.call.repair.messages import directed_pairs, undirected_pairs
from layersmith.load.values import TensorSpec, specs
from layersmith.probe import source
from layersmith.probe.sequence import TOGETHER

_STATED = (
    (r"[Ee]xpected (\d)D(?: \(unbatched\))? or (\d)D", 2),
    (r"[Ee]xpected (\d)D input", 1),
    (r"mode needs (\d)D input", 1),
    (r"[Ww]rong shape: expected (\d+) dims", 1),
    (r"[Ee]xpected (?:input to be |a )?(\d)[- ]?(?:D|dim)", 1),
    (r"should be (?:\d/)?(\d)[- ]?(?:D\b|dim)", 1),
    (r"n?dim(?:ension)?s? should be (\d)", 1),
    (r"len\(dims\) = (\d)", 1),
    (r"expects? (?:a )?(\d)-?[dD]", 1),
    (r"must (?:be|have) (\d)[- ]?(?:D|dim)", 1),
    (r"(\d)-dimensional", 1),
    (r"number of subscripts in the equation \((\d)\)", 1),
    (r"(\d)-?[dD][- ](?:array|vector)", 1),
    (r"(\d)D tensor", 1),
    (r"(\d) dimensions", 1),
    (r"must be batches of images with (\d) dim", 1),
)
_MATRIX, _HIGHEST = 2, 6
_SQUEEZES = re.compile(r"\.squeeze\((?:dim=)?-?1\)")
_SPELLED = re.compile(r"\(?\[?\b[BN](?:[x, ]+[A-Z*]\w?){1,5}\b")  # "we expect BxNxCxHxW", "(B, C, H, W)"
_DRAWN = re.compile(
    r"[(\[](?:\*|[A-Z]\w?)(?:, ?(?:[A-Z]\w?|\d{1,2})){1,5}[)\]]|\b[BN](?:x(?:[A-Z]|\d{1,2})){1,5}\b"
)
_OF_PAIRS = re.compile(r"att(?:n|ention)_mask$")
_STARRED = re.compile(r"\*(\w+)\.(?:shape|size\(\))")  # `b, n, d, heads = *x.shape, self.heads`
_LISTED = re.compile(r"[(\[](?:[A-Z]|\*)(?:, ?[A-Z]){1,5}[)\]]")  # "either (D, H, W) or (*, C, D, H, W)"


def unpacked(complaint: Complaint) -> Iterator[State]:
    """`b, c, h, w = x.shape` of another rank, also `*x.shape, self.heads`; a tuple where one is unpacked."""
    match = complaint.says(r"not enough values to unpack \(expected (?:at least )?(\d+), got (\d+)\)")
    if match:
        wanted, got = int(match.group(1)), int(match.group(2))
        for name in _STARRED.findall(complaint.line):
            if name in complaint.tensors:
                yield complaint.with_rank(min(_rank(complaint, name) + wanted - got, _HIGHEST), [name])
        of_that_rank = [name for name in complaint.tensors if _rank(complaint, name) == got]
        yield from _ranked(
            complaint, wanted, [n for n in complaint.suspects if n in of_that_rank] or of_that_rank
        )
    match = complaint.says(r"too many values to unpack \(expected (\d+)")
    if match:
        wanted = int(match.group(1))
        if re.search(r"split|chunk", complaint.line):
            yield from _in_parts(complaint, wanted)
        if not re.search(r"\.shape|\.size\(", complaint.line):
            yield from _split(complaint, wanted)
        yield from _ranked(complaint, wanted, complaint.blamed)


def batched(complaint: Complaint) -> Iterator[State]:
    """A batch of what a convolution took as one item: "weight of size [32, 3, 4, 4], expected input[1, 5, 7, 11]"."""
    match = complaint.says(r"weight of size \[([\d, ]+)\], expected input\[1, ([\d, ]+)\]")
    weight, item = (
        ([int(size) for size in sizes.split(",")] for sizes in match.groups()) if match else ([], [])
    )
    for name in complaint.blamed if len(item) + 1 == len(weight) else ():
        value = complaint.state[name]
        is_item = isinstance(value, TensorSpec) and value.rank == len(item)  # maybe padded before
        if is_item and value.shape[0] == item[0]:
            yield complaint.with_rank(len(weight), [name])


def drawn(complaint: Complaint) -> Iterator[State]:
    """The shape that a message draws with numbers in it: "boxes of shape [N, 4]", "must be (*, 3, H, W)", "Bx3xHxW"."""
    names = [name for name in complaint.blamed if isinstance(complaint.state[name], TensorSpec)]
    for text in _DRAWN.findall(complaint.text):
        axes = [axis.strip() for axis in re.split("[,x]", text.strip("[()]"))]
        sizes = tuple(int(axis) if axis.isdigit() else None for axis in axes)
        clue = Clue(rank=len(axes), sizes=sizes)
        of_any = not any(axis.isalpha() for axis in axes)  # "[*, 32]", as torch has it
        low = (
            [name for name in names if not of_any or _rank(complaint, name) < len(axes)] if any(sizes) else []
        )
        for chosen in (low, *([name] for name in low)):
            yield complaint.with_specs(lambda spec, clue=clue: _as_drawn(spec, clue), chosen)  # type: ignore[misc]


def _as_drawn(spec: TensorSpec, clue: Clue) -> TensorSpec:
    new = shaped(clue, clue.rank or 0)
    kept = spec if spec.rank == new.rank else new
    shape = tuple(told or size for told, size in zip(clue.sizes, kept.shape, strict=True))
    return replace(spec, shape=shape, free=new.free)


def stated(complaint: Complaint) -> Iterator[State]:
    """The rank that the message asks for."""
    spelled = _SPELLED.search(complaint.text)
    if spelled and "*" not in spelled.group():
        yield from _ranked(complaint, len(re.findall(r"[A-Z]", spelled.group())), complaint.blamed)
    if complaint.says(r"[Ff]or unbatched \(2-D\)"):  # `query`, beside keys of more dimensions
        yield complaint.with_rank(3)
    listed = [len(found.split(",")) for found in _LISTED.findall(complaint.text)]
    for rank in sorted(set(listed), reverse=True) if len(listed) > 1 else ():
        yield from _ranked(complaint, rank, complaint.blamed)
    for pattern, group in _STATED:
        match = complaint.says(pattern)
        if match:
            yield from _ranked(complaint, int(match.group(group)), complaint.blamed)
            if group > 1:
                yield from _ranked(complaint, int(match.group(1)), complaint.blamed)
            return


def indexed(complaint: Complaint) -> Iterator[State]:
    """A dimension that is not there."""
    match = complaint.says(
        r"Dimension out of range \(expected to be in range of \[-?\d+, (-?\d+)\], but got (-?\d+)\)"
    )
    if match:
        high, index = int(match.group(1)), int(match.group(2))
        for name in complaint.blamed if index > high and "unsqueeze" in complaint.line else ():
            yield complaint.with_rank(min(_rank(complaint, name) + index - high, _HIGHEST), [name])
        yield from _ranked(complaint, index + 1 if index >= 0 else -index, complaint.blamed)
    if complaint.says(
        r"tuple index out of range|index \d+ is out of range|too many indices|Padding size should be less|"
        r"number of dimensions in the tensor input does not match|does not have .*dim"
    ):
        for name in complaint.blamed:
            yield complaint.with_rank(min(_rank(complaint, name) + 1, _HIGHEST), [name])


def counted(complaint: Complaint) -> Iterator[State]:
    """Another rank where the message only says that it is wrong."""
    spatial = complaint.says(r"[Ee]xpected (\d) spatial dim\w*,? (?:but )?got (\d)")
    packed = complaint.says(r"must have (\d) dimensions, got (\d)")  # of a packed sequence, one less
    missing = next((int(said[1]) - int(said[2]) for said in (spatial, packed) if said), 0)
    names = complaint.blamed if spatial or missing < 0 else complaint.blamed[:1]
    for name in names if missing else ():
        yield complaint.with_rank(min(_rank(complaint, name) + missing, _HIGHEST), [name])
    for name in reversed(complaint.blamed) if complaint.says("multi-target not supported") else ():
        yield complaint.with_rank(max(1, _rank(complaint, name) - 1), [name])
    if complaint.says(
        r"(right|correct|wrong|invalid|incorrect|proper) number of (ax[ei]s|dim)|[Nn]umber of spatial dim"
    ):
        for change in (1, -1, 2):
            for name in complaint.blamed:
                if 0 < _rank(complaint, name) + change <= _HIGHEST:
                    yield complaint.with_rank(_rank(complaint, name) + change, [name])


def one_a_row(complaint: Complaint) -> Iterator[State]:
    """One number a row where so many are laid in one line: `score.view(-1, 1) * x` of 480 = 5 * 96 scores and 5 rows."""
    for one, other in undirected_pairs(complaint.text):
        for name in reversed([*complaint.tensors]):
            spec = complaint.state[name]
            is_matrix = isinstance(spec, TensorSpec) and spec.rank == _MATRIX
            if is_matrix and {one, other} == {math.prod(spec.shape), spec.shape[0]}:
                yield complaint.with_rank(1, [name])


def one_column(complaint: Complaint) -> Iterator[State]:
    """One number a row in a column, where the class squeezes what it is given: `item.squeeze(1)`."""
    is_of_rank = complaint.says(r"multi-target not supported|must be a 3D|first two dimensions of batch2")
    cls: type = type(complaint.callee.module)
    if not is_of_rank or not _SQUEEZES.search(source.text_of(cls)):
        return
    values = {name: complaint.state[name] for name in reversed(complaint.tensors)}
    matrices = {n: v for n, v in values.items() if isinstance(v, TensorSpec) and v.rank == _MATRIX}
    for name, spec in matrices.items():
        column = spec.resized(1, 1)
        is_class = "target" in is_of_rank[0] and column.dtype.is_floating_point
        yield complaint.with_value(name, TensorSpec(column.shape, torch.int64, 2) if is_class else column)


def one_word(complaint: Complaint) -> Iterator[State]:
    """One id where the features of several, laid in one line, are too many: `embedding(word).view(1, 1, -1)`."""
    widths = {value for value in complaint.callee.arguments.values() if type(value) is int and value > 1}
    for given, wanted in directed_pairs(complaint.text):
        for name in complaint.tensors:
            spec = complaint.state[name]
            is_ids = isinstance(spec, TensorSpec) and spec.dtype is torch.int64 and spec.rank > 0
            for shape in (spec.shape[:1], (1,)) if is_ids else ():  # one a row, or one in all
                more = math.prod(spec.shape) // math.prod(shape) - 1
                if more and any(width <= given - more * width <= wanted for width in widths):
                    yield complaint.with_value(name, replace(spec, shape=shape, free=spec.free & {0}))


def dotted(complaint: Complaint) -> Iterator[State]:
    """One row where a product of two vectors has no room for more, `h.squeeze(0).dot(e.squeeze(0))`; or a vector."""
    unlike = complaint.says(r"inconsistent tensor size, expected tensor \[(\d+)\] and src \[(\d+)\]")
    longer = max(int(unlike[1]), int(unlike[2])) if unlike else 0
    if not longer and not complaint.says(r"1D tensors expected, but got \dD and \dD"):
        return
    for name in complaint.blamed:
        spec = complaint.state[name]
        ranks = range(spec.rank - 1, 0, -1) if isinstance(spec, TensorSpec) else ()
        is_row = longer > 0 or "squeeze" in complaint.line
        for kept in ranks if is_row else ():  # of a sequence of such rows first
            ones = (*spec.shape[: kept - 1], *(1,) * (spec.rank - kept), spec.shape[-1])
            if not longer or math.prod(spec.shape[kept - 1 :]) == longer:
                yield complaint.with_value(name, replace(spec, shape=ones))
        if ranks and not is_row:
            free = frozenset({0} if spec.rank - 1 in spec.free else ())
            yield complaint.with_value(name, replace(spec, shape=spec.shape[-1:], free=free))


def of_pairs(complaint: Complaint) -> Iterator[State]:
    """A mask of steps by steps for each row instead of one of its steps: `slf_attn_mask`, repeated for every head."""
    for name in complaint.tensors if complaint.says("size of tensor") else ():
        spec = complaint.state[name]
        if _OF_PAIRS.search(name) and isinstance(spec, TensorSpec) and spec.rank == _MATRIX:
            rows, steps = spec.shape
            yield complaint.with_value(name, replace(spec, shape=(rows, steps, steps)))


def fewer_indices(complaint: Complaint) -> Iterator[State]:
    """One index a row instead of a sequence of them: embedded they have one dimension more."""
    if complaint.says(
        r"repeat dims can not be smaller|must have same number of dim|view size is not compatible|"
        r"batch\d must be a|must be a [123]D tensor"
    ):
        yield from single_indices(complaint)


def joined(complaint: Complaint) -> Iterator[State]:
    """What is laid beside features, with as many dimensions as they have: `torch.cat((x.flatten(1), speed), 1)`."""
    match = complaint.says(r"must have same number of dimensions: got (\d) and (\d)")
    ranks = {int(match[1]), int(match[2])} if match else set()
    for name in reversed(complaint.blamed if match else []):
        spec = complaint.state[name]
        is_of_floats = isinstance(spec, TensorSpec) and spec.dtype.is_floating_point
        others = ranks - {spec.rank} if is_of_floats else ranks
        for rank in others if len(others) == 1 else ():
            yield complaint.with_rank(rank, [name])
        if (
            is_of_floats and isinstance(spec, TensorSpec) and len(others) > 1
        ):  # it got an axis on the way there
            apart = max(ranks) - min(ranks)
            near = [rank for rank in (spec.rank - apart, spec.rank + apart) if 0 < rank <= _HIGHEST]
            yield from (complaint.with_rank(rank, [name]) for rank in near)


def single_indices(complaint: Complaint) -> Iterator[State]:
    """One index a row, of some arguments or all."""
    rows = [n for n in complaint.tensors if all(s.dtype is torch.int64 for s in specs(complaint.state[n]))]
    rows = [name for name in rows if _rank(complaint, name) > 1]
    for name in rows:
        yield complaint.with_rank(_rank(complaint, name) - 1, [name])
    for kept in reversed(rows) if len(rows) > 1 else ():
        yield complaint.with_rank(1, [name for name in rows if name != kept])
    yield complaint.with_rank(1, rows)


def _ranked(complaint: Complaint, rank: int, names: list[str]) -> Iterator[State]:
    if rank > _HIGHEST:
        return
    for name in names:
        kin = [other for other in complaint.tensors if any({name, other} <= group for group in TOGETHER)]
        if len(kin) > 1:
            yield complaint.with_rank(rank, kin)
    for name in names:
        yield complaint.with_rank(rank, [name])
    if len(complaint.tensors) > 1:
        yield complaint.with_rank(rank, names)
        yield complaint.with_rank(rank)


def _split(complaint: Complaint, count: int) -> Iterator[State]:
    for name in complaint.blamed:
        value = complaint.state[name]
        if isinstance(value, TensorSpec):
            yield complaint.with_value(name, (value,) * count)


def _in_parts(complaint: Complaint, count: int) -> Iterator[State]:
    """Features that are so many of the module's own widths: what was split into parts of a third left a fourth."""
    told = {value for value in complaint.callee.arguments.values() if type(value) is int and value > 1}
    for name in complaint.blamed:
        spec = complaint.state[name]
        is_open = isinstance(spec, TensorSpec) and spec.rank > 1 and spec.rank - 1 in spec.free
        for width in sorted(told, reverse=True) if is_open else ():
            yield complaint.with_value(name, spec.resized(spec.rank - 1, count * width))


def _rank(complaint: Complaint, name: str) -> int:
    return next(specs(complaint.state[name])).rank
