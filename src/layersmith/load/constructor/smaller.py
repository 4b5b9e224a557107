"""The same arguments with other sizes: of one width, as a residual needs them, or small ones."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping

from torch import nn

from layersmith.load.constructor import names, ranges
from layersmith.load.constructor.repair import Arguments

_MANY = 6  # more blocks than a stage needs


def of_one_width(arguments: Arguments) -> Iterator[Arguments]:
    """Equal widths, as a residual needs them."""
    widths = {n: v for n, v in arguments.items() if type(v) is int and v in (names.WIDTH, *names.SEVERAL)}
    if len(widths) > 1:
        ends = [name for name, value in widths.items() if value in (names.INPUT, names.OUTPUT)]
        yield {**arguments, **dict.fromkeys(ends, names.WIDTH)}
        yield {**arguments, **dict.fromkeys(widths, names.WIDTH)}


def smaller(
    cls: type[nn.Module],
    parameters: Mapping[str, inspect.Parameter],
    arguments: Arguments,
    *,
    only: str = "",
) -> Arguments:
    """Small values also for parameters whose defaults are large; or for one of them."""
    found = dict(arguments)
    for name in [only] if only else parameters:
        current = arguments.get(name, parameters[name].default)
        least = next(iter(ranges.within(cls, name, names.known_integers(name))), None)
        if type(current) is type(least) is int and current > least:
            found[name] = least
        is_list = isinstance(current, list | tuple) and {type(item) for item in current} == {int}
        if is_list and max(current) >= _MANY:
            share = max(1, max(current) // names.WIDTH)
            found[name] = type(current)(
                max(1, item // share if share > 1 else min(item, 2)) for item in current
            )
    if found == arguments and not only:  # as small as names allow: a product of two widths is too large
        found |= {n: v // 4 for n, v in arguments.items() if type(v) is int and v >= 2 * names.WIDTH}
    return found
