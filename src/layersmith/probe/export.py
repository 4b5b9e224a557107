"""torch.export with the batch axis left open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from layersmith.probe import batch, closeness, source, tree, wording
from layersmith.probe.compiler import Place, sizes_fixed
from layersmith.probe.inputs import Inputs
from layersmith.probe.surroundings import preserved
from layersmith.probe.template import copied

Build = Callable[[], nn.Module]  # a fresh module


@dataclass(frozen=True, slots=True)
class Export:
    """What came of exporting a module, its batch axis open where eager mode takes other sizes of it."""

    axis: int | None = None
    refusal: str = ""  # export's error, whole
    place: Place = ("", 0)  # where that arose
    always: str = ""  # its error with all sizes fixed; "" where it is taken so
    otherwise: str = ""  # what the program does for one row more that the module does not
    trouble: str = ""  # why that cannot be said
    fixing: tuple[Place, ...] = ()  # lines that hold a size to one number

    @property
    def holds_for_any_size(self) -> bool:
        """Whether the program takes other sizes as the module does."""
        return self.axis is not None and not (self.refusal or self.otherwise or self.trouble)


def export_of(build: Build, inputs: Inputs, *, seed: int) -> Export:
    """Export a fresh module with its batch open; what fails with it closed, too, is no matter of the batch.

    The program is written down only where a run without values does not already show that there is one.
    """
    axis = open_axis(build(), inputs)
    if axis is not None and runs_open(build(), inputs, axis, seed=seed):
        return Export(axis)
    module = build()
    with sizes_fixed(module) as fixing:
        try:
            program = exported(module, inputs, axis, seed=seed)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told
            always, place = "", source.error_line(error, module)
            try:
                exported(build(), inputs, None, seed=seed)
            except Exception as other:  # noqa: BLE001 - as above
                always, place = said(other), source.error_line(other, module)
            text = str(error).strip() or type(error).__name__
            return Export(axis, text, place, always, fixing=tuple(fixing))
    otherwise, trouble = _otherwise(build, program, inputs, axis, seed) if axis is not None else ("", "")
    return Export(axis, otherwise=otherwise, trouble=trouble, fixing=tuple(fixing))


def runs_open(module: nn.Module, inputs: Inputs, axis: int, *, seed: int) -> bool:
    """Whether it runs on tensors without values, their rows a symbol of which nothing is asked but to be small or large.

    So export runs it, too, and takes twice as long to write the program down. That it does not run shows nothing.
    """
    from torch._dynamo.source import ConstantSource  # noqa: PLC0415 - slow, and only here
    from torch.fx.experimental import symbolic_shapes as symbolic  # noqa: PLC0415 - as above

    shapes = symbolic.ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True)
    rows = {id(tensor) for tensor in with_rows(inputs, axis)}

    def without_values(x: Tensor) -> Tensor:
        sizes = [symbolic.DimDynamic.STATIC] * x.ndim
        if id(x) in rows:
            sizes[axis] = symbolic.DimDynamic.DUCK  # one symbol for all that are of one size
        context: Any = symbolic.StatelessSymbolicContext(dynamic_sizes=sizes)
        return mode.from_tensor(x, source=ConstantSource(f"x{id(x)}"), symbolic_context=context)

    try:
        given = inputs.map(without_values)
        with preserved(seed=seed), torch.no_grad(), mode, enable_python_dispatcher():
            module(*given.args, **given.kwargs)
    except Exception:  # noqa: BLE001 - whatever it is, export will say it better
        return False
    kept = [
        x for part in nn.Module.modules(module) for x in (*vars(part).values(), *part.buffers(recurse=False))
    ]
    are_ranges = all(getattr(guard.expr, "rel_op", "") in {"<", "<=", ">", ">="} for guard in shapes.guards)
    return are_ranges and not any(isinstance(x, FakeTensor) for x in kept)


def _otherwise(build: Build, program: Any, inputs: Inputs, axis: int, seed: int) -> tuple[str, str]:
    """What the program does for one row more that the module does not, and why that cannot be said; "" if nothing."""
    more = batch.grown(inputs, 1, axis=axis)
    try:
        expected, call = _called(build(), more, seed), program.module()
        _called(call, inputs, seed)
    except Exception as error:  # noqa: BLE001 - a part that is called `code` is hidden by fx's own attribute
        return "", said(error)
    try:
        got = _called(call, more, seed)
    except Exception as error:  # noqa: BLE001 - whatever it raises, the module did not
        return f"refuses one row more: {wording.first_line(str(error))}", ""
    gaps = closeness.gaps(expected, got)
    return (f"gives another {gaps[0].where} for one row more, by {gaps[0].max_abs:.2g}" if gaps else ""), ""


def _called(module: nn.Module, inputs: Inputs, seed: int) -> Any:
    with preserved(seed=seed), torch.no_grad():
        return inputs.call(module)


def said(error: Exception) -> str:
    """An error in one line, with its type."""
    return f"{type(error).__name__}: {wording.first_line(str(error))}"


def open_axis(module: nn.Module, inputs: Inputs) -> int | None:
    """The batch axis, if there is one that eager mode takes more and fewer rows on."""
    axes = batch.axes(module, inputs)
    if len(axes) != 1 or (size := batch.batch_size(inputs, axes[0])) < 2:  # noqa: PLR2004 - 1 is a case apart
        return None
    calls = (inputs, *(batch.grown(inputs, count, axis=axes[0]) for count in (1, size)))
    usual, larger, twice = (_shapes(module, given) for given in calls)
    is_taken = usual is not None and larger is not None and twice is not None
    return axes[0] if is_taken and not _grow_twice(usual or [], larger or []) else None


def _shapes(module: nn.Module, inputs: Inputs) -> list[torch.Size] | None:
    """Those of the outputs of a copy of the module; None if it does not take the inputs."""
    try:
        with preserved(seed=0):
            return [output.shape for output in tree.tensors(inputs.call(copied(module)))]
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take them
        return None


def _grow_twice(usual: list[torch.Size], larger: list[torch.Size]) -> bool:
    """Whether some output grows along two axes: then one of them is counted by an argument that holds no rows."""
    pairs = [(a, b) for a, b in zip(usual, larger, strict=False) if len(a) == len(b)]
    return any(sum(m != n for m, n in zip(a, b, strict=True)) > 1 for a, b in pairs)


def with_rows(inputs: Inputs, axis: int) -> list[Tensor]:
    """The tensors that hold rows of the batch on that axis."""
    size = batch.batch_size(inputs, axis)
    return [tensor for tensor in inputs.tensors() if tensor.ndim > axis and tensor.shape[axis] == size]


def exported(module: nn.Module, inputs: Inputs, axis: int | None, *, seed: int) -> Any:
    """The exported program, with that axis open; with all sizes fixed where it is None."""
    from torch.export import Dim, ShapesCollection, export  # noqa: PLC0415 - slow, and only here

    inputs = inputs.clone()
    shapes: Any = ShapesCollection()
    size = batch.batch_size(inputs, axis) if axis is not None else 0
    for tensor in with_rows(inputs, axis) if axis is not None else ():
        shapes[tensor] = {axis: Dim.DYNAMIC}
    with preserved(seed=seed), torch.no_grad():
        return export(
            module,
            inputs.args,
            dict(inputs.kwargs),
            dynamic_shapes=shapes if size else None,
            strict=False,
        )
