"""The memory: parameters of each submodule, and what its forward keeps for backward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.multiprocessing.reductions import StorageWeakRef

from layersmith.errors import UsageError
from layersmith.finding import Measurement
from layersmith.probe.calls import traced
from layersmith.probe.inputs import Inputs
from layersmith.probe.rehearsal import as_in_training, rehearsal


def saved_bytes(module: nn.Module, inputs: Inputs, *, seed: int = 0) -> list[Measurement]:
    """`saved_bytes`: what autograd keeps between forward and backward, of every submodule that is called.

    Each storage that is still held when forward ends counts once, in full (a view keeps all of it alive), for
    the submodule that saved it first, with all that contain it: where ReLU saves its output, the layer that
    follows saves the same and adds nothing. Parameters, buffers and the inputs themselves do not count: they
    stay whether saved or not. What a submodule keeps by itself, as an attribute or on `ctx` past
    `save_for_backward`, is not seen. What is checkpointed is not saved. Works on the meta device too.

    Returns:
        Measurements in bytes, each submodule before those that it contains.

    Raises:
        UsageError: if the module cannot be copied, or uses torch.func, which forbids watching what is saved.

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU())
        >>> saved_bytes(module, Inputs.of(torch.ones(2, 3)))[0]
        Measurement(name='saved_bytes', value=40.0, unit='B', spread=0.0, where='')
    """
    found: dict[int, tuple[StorageWeakRef, float, frozenset[str]]] = {}  # by the identity of the storage
    with rehearsal(module, inputs, seed=seed) as twin:
        arguments = as_in_training(inputs, twin)
        held = (*twin.parameters(), *twin.buffers(), *arguments.tensors())
        uncounted = {identity for identity, _ in _storages(held)}

        def pack(tensor: Tensor) -> Tensor:
            for identity, storage in _storages([tensor]):
                if identity not in found and identity not in uncounted:
                    found[identity] = StorageWeakRef(storage), storage.nbytes(), trace.current.running
            return tensor.detach()  # an output returned as it is would hold the node that holds it, for ever

        with (
            traced(twin) as trace,
            saved_tensors_hooks(pack, lambda tensor: tensor),
            _torch_func_refused(module),
        ):
            output = twin(*arguments.args, **arguments.kwargs)
        counted = _alive(found.values())
        del output  # until here it holds the graph, and the graph what was saved
    return [Measurement("saved_bytes", float(counted[path]), "B", where=path) for path in trace.times_called]


def parameters(module: nn.Module, inputs: Inputs, *, seed: int = 0) -> list[Measurement]:
    """`parameter_count` and `parameter_bytes` of the module and of every submodule, contents included.

    A parameter that several submodules share counts once in each, and once in whatever contains them. The
    inputs give lazy parameters their shapes.

    Raises:
        UsageError: if the module cannot be copied.

    Example:
        >>> import torch
        >>> from layersmith.probe.inputs import Inputs
        >>> found = parameters(torch.nn.LazyLinear(5), Inputs.of(torch.ones(2, 10)))
        >>> [(m.name, m.value, m.unit) for m in found]
        [('parameter_count', 55.0, ''), ('parameter_bytes', 220.0, 'B')]
    """
    found = []
    with rehearsal(module, inputs, seed=seed) as twin:
        for path, submodule in twin.named_modules():
            sizes = [(parameter.numel(), parameter.element_size()) for parameter in submodule.parameters()]
            count, in_bytes = sum(n for n, _ in sizes), sum(n * size for n, size in sizes)
            found.append(Measurement("parameter_count", float(count), where=path))
            found.append(Measurement("parameter_bytes", float(in_bytes), "B", where=path))
    return found


def _alive(found: Iterable[tuple[StorageWeakRef, float, frozenset[str]]]) -> Counter[str]:
    """Bytes by path, less those of a graph that forward dropped on its way."""
    counted: Counter[str] = Counter()
    for storage, size, running in found:
        if not storage.expired():
            counted.update(dict.fromkeys(running, size))
    return counted


@contextmanager
def _torch_func_refused(module: nn.Module) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "support saved tensor hooks" not in str(error):
            raise
        raise UsageError(
            f"what {type(module).__name__} saves for backward cannot be seen, for its forward differentiates "
            f"through torch.func: {error!s:.200}; measure its parts that do not"
        ) from error


def _storages(tensors: Iterable[Tensor]) -> Iterator[tuple[int, torch.UntypedStorage]]:
    """The memory of each strided tensor under its identity, which meta tensors have too."""
    for tensor in tensors:
        if tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            yield storage._cdata, storage  # noqa: SLF001 - data_ptr() is 0 on the meta device
