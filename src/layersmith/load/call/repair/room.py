"""What errors say of inputs of which nothing is left: more pixels, steps or samples."""

from __future__ import annotations

import re
from collections.abc import Iterator

from layersmith.load.call.callee import State
from layersmith.load.call.repair.complaint import Complaint
from layersmith.load.values import TensorSpec, specs

TOO_SMALL = re.compile(
    r"Kernel size can't be greater|[Oo]utput size is too small|too small|Padding size should be less|"
    r"Expected more than 1 (value|spatial)|non-zero|smaller than kernel|maximum size for tensor at dimension|"
    r"must be (greater|larger)|at least|exceeds dimension size|invalid start|"
    r"negative dimension|zero elements|step must be|stack expects a non-empty|Invalid computed output size"
)
_TOO_SHORT = "[Kk]ernel size|Invalid computed output size"
_SPATIAL, _HALVED_OFTEN = (32, 64, 128, 256), 512  # of eight strides 256 leave one pixel
_SAMPLES = (512, 4096, 32_768)
_SEQUENCE = 3  # a rank


def too_small(complaint: Complaint) -> Iterator[State]:
    """More pixels or steps."""
    yield from _as_long(complaint)
    if not TOO_SMALL.search(complaint.text):
        return
    yield from _as_told(complaint)
    yield from _as_deep(complaint)
    yield from _longer(complaint)
    for side in (*_SPATIAL, _HALVED_OFTEN) if complaint.says("Expected more than 1") else _SPATIAL:
        yield complaint.with_specs(lambda spec, side=side: _enlarged(spec, side))  # type: ignore[misc]
    for length in _SAMPLES if complaint.says(_TOO_SHORT) else ():  # of a signal [batch, channels, samples]
        yield complaint.with_specs(lambda spec, length=length: _stretched(spec, length))  # type: ignore[misc]


def _as_long(complaint: Complaint) -> Iterator[State]:
    """As many steps as are counted off: "index 31 is out of bounds for dimension 1 with size 7"."""
    match = complaint.says(r"index (\d+) is out of bounds for dimension (\d+) with size (\d+)")
    index, axis, size = map(int, match.groups()) if match else (0, 0, 0)
    for name in dict.fromkeys([*complaint.blamed, *complaint.tensors]) if axis and index >= size else ():
        yield complaint.with_specs(
            lambda spec: (
                spec.resized(axis, index + 1, fix=False)
                if spec.rank > axis and spec.shape[axis] == size and axis in spec.free
                else spec
            ),
            [name],
        )


def _as_deep(complaint: Complaint) -> Iterator[State]:
    """Each side as large as the kernel that goes over it: "(11 x 15 x 19). Kernel size: (96 x 3 x 3)"."""
    match = complaint.says(r"per channel: \(([\d x]+)\)\. Kernel size: \(([\d x]+)\)")
    given, wanted = (
        ([int(side) for side in match.group(i).split(" x ")] for i in (1, 2)) if match else ([], [])
    )
    short = [max(0, kernel - side) for side, kernel in zip(given, wanted, strict=True)]

    def deeper(spec: TensorSpec) -> TensorSpec:
        for index, more in enumerate(short, start=2) if spec.rank == 2 + len(short) else ():
            spec = spec.resized(index, spec.shape[index] + more) if more and index in spec.free else spec
        return spec

    if len(short) == 3:  # noqa: PLR2004 - a cube, of whose sides one may be as long as there are bands
        yield complaint.with_specs(deeper)


def _longer(complaint: Complaint) -> Iterator[State]:
    """More samples of a signal [batch, samples] that a window of hundreds is laid over."""
    is_signal = all(spec.rank < _SEQUENCE for spec in specs(list(complaint.state.values())))
    if not is_signal or not complaint.says(f"Padding size should be less|{_TOO_SHORT}"):
        return
    for length in _SAMPLES:
        yield complaint.with_specs(
            lambda spec, length=length: (
                spec.resized(1, length, fix=False)  # type: ignore[misc]
                if spec.rank == 2 and 1 in spec.free and spec.dtype.is_floating_point  # noqa: PLR2004 - batch and samples
                else spec
            )
        )


def _as_told(complaint: Complaint) -> Iterator[State]:
    """Sentences of ids as long as the constructor was told that they are: `MaxPool1d(max_len - width + 1)`."""
    told = {**complaint.callee.settings, **complaint.callee.arguments}
    lengths = {size for name, size in told.items() if "len" in name and type(size) is int}
    for length in sorted(lengths) if complaint.says(_TOO_SHORT) else ():
        yield complaint.with_specs(
            lambda spec, length=length: (
                spec.resized(1, length, fix=False)  # type: ignore[misc]
                if spec.rank == 2 and 1 in spec.free and not spec.dtype.is_floating_point  # noqa: PLR2004 - batch and steps
                else spec
            )
        )


def _stretched(spec: TensorSpec, length: int) -> TensorSpec:
    is_signal = spec.rank == _SEQUENCE and 2 in spec.free and spec.shape[2] < length  # noqa: PLR2004
    return spec.resized(2, length, fix=False) if is_signal else spec


def _enlarged(spec: TensorSpec, side: int) -> TensorSpec:
    for index in sorted(spec.free):
        if index > 0 and spec.rank > 2 and spec.shape[index] < side:  # noqa: PLR2004 - features are not enlarged
            spec = spec.resized(index, side, fix=False)
    return spec
