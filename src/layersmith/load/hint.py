"""What the user, or an earlier search, has said of a class: how it is built and called, in notation."""

from __future__ import annotations

from dataclasses import replace

from layersmith.load import cards, pretrained
from layersmith.load.doubt import FAILS
from layersmith.load.replay import Misfit, replayed
from layersmith.load.strategy import Found, Request
from layersmith.load.unbuildable import Unbuildable

PLACE = "[tool.layersmith.examples]"


class Stale(Unbuildable):
    """What the user said of a class does not fit it any more."""


def by_hint(request: Request) -> Found | None:
    """As the settings of the project say; None where they say nothing of the class.

    Raises:
        Stale: if the class cannot be built or called so.
    """
    if not request.said.hints:
        return None
    text = request.said.hints[request.said.number]
    try:
        return replayed(request, text, how=f"from {PLACE}")
    except Misfit as misfit:
        if pretrained.leave_out() or cards.stand_in([str(misfit)]):
            return by_hint(request)
        raise Stale(f"its example in {PLACE} no longer fits: {text}: {misfit}") from misfit


def by_lock(request: Request) -> Found | None:
    """As found before; None where nothing was, it does not fit any more, or the user gives other inputs."""
    if not request.said.locked or request.inputs is not None:
        return None
    try:
        text, doubt = request.said.locked[request.said.number], request.said.doubt
        found = replayed(request, text, how=f"from {request.said.source}", must_work=doubt != FAILS)
        return replace(found, doubt=doubt)
    except Misfit as misfit:
        if pretrained.leave_out() or cards.stand_in([str(misfit)]):
            return by_lock(request)
        request.said.misfits.append(str(misfit))
        return None
