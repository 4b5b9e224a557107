"""The signal and its gradient by depth as an SVG figure of two panels, before and after a repair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from layersmith.render.curves import PANELS, Curve, curves
from layersmith.report import Report, SubjectReport

WIDTH, HEIGHT = 720, 250  # of the figure, and of what one module takes, in points
LEFT, TOP, PANEL_WIDTH, PANEL_HEIGHT, GAP = 56, 44, 290, 140, 64
MOST_LABELS, MOST_MARKS = 8, 40
# Okabe and Ito 2008: told apart by colour-blind people, and by brightness, dash and mark in print.
BEFORE, AFTER = "#D55E00", "#0072B2"
INK, FAINT = "#222222", "#D0D0D0"
STYLE = (
    f"text{{font-family:Helvetica,Arial,sans-serif;font-size:10px;fill:{INK}}}"
    ".name{font-size:13px;font-weight:bold}.panel{font-size:11px}"
)


@dataclass(frozen=True, slots=True)
class Panel:
    """Where a panel lies and what its axes show."""

    left: float
    top: float
    count: int  # of submodules
    low: int  # decades
    high: int

    def x(self, index: int) -> float:
        """Of the submodule."""
        return self.left + PANEL_WIDTH * (index + 0.5) / max(self.count, 1)

    def y(self, value: float) -> float:
        """Of the value, on a logarithmic scale."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.top + PANEL_HEIGHT * (1 - max(0.0, min(1.0, share)))


def draw(report: Report) -> str:
    """The figure: two panels for each subject that has curves, one below the other."""
    drawn = [(subject, curves(subject.measurements)) for subject in report.subjects]
    drawn = [(subject, found) for subject, found in drawn if found]
    height = max(1, len(drawn)) * HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"',
        f'width="{WIDTH}" height="{height}">',
        "<title>Signal and gradient by depth at initialisation</title>",
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    if not drawn:
        parts.append(_text(LEFT, TOP, "no signal was measured", "panel"))
    for index, (subject, found) in enumerate(drawn):
        parts += _subject(subject, found, index * HEIGHT)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _subject(subject: SubjectReport, found: list[Curve], top: float) -> Iterator[str]:
    yield _text(LEFT, top + 18, subject.name, "name")
    yield from _legend(top + 14, has_after=any(curve.is_after for curve in found))
    for index, (title, _) in enumerate(PANELS):
        mine = [curve for curve in found if curve.title == title]
        if mine:
            yield from _panel(mine, LEFT + index * (PANEL_WIDTH + GAP), top + TOP)


def _legend(y: float, *, has_after: bool) -> Iterator[str]:
    for index, is_after in enumerate((False, True) if has_after else (False,)):
        x = WIDTH - 220 + 100 * index
        yield _line([(x, y), (x + 28, y)], is_after=is_after)
        yield _mark(x + 14, y, is_after=is_after)
        yield _text(x + 34, y + 4, "repaired" if is_after else "as it is")


def _panel(found: Sequence[Curve], left: float, top: float) -> Iterator[str]:
    values = [value for curve in found for value in curve.values if math.isfinite(value) and value > 0]
    low = math.floor(math.log10(min(values))) if values else -1
    high = math.ceil(math.log10(max(values))) if values else 1
    if high - low < 2:  # noqa: PLR2004 - decades: a flat line shall look flat
        low, high = (low - 1, high) if high > low else (low - 1, high + 1)
    panel = Panel(left, top, len(found[0].wheres), low, high)
    yield _text(left, top - 8, f"std of the {found[0].title} after each submodule", "panel")
    yield from _axes(panel, found[0].wheres)
    for curve in found:
        yield from _curve(panel, curve)


def _axes(panel: Panel, wheres: Sequence[str]) -> Iterator[str]:
    bottom = panel.top + PANEL_HEIGHT
    step = max(1, math.ceil((panel.high - panel.low) / 6))
    for decade in range(panel.low, panel.high + 1, step):
        y = panel.y(10.0**decade)
        yield f'<path d="M{panel.left:.1f} {y:.1f}h{PANEL_WIDTH}" stroke="{FAINT}" stroke-width="0.7"/>'
        yield _text(panel.left - 6, y + 3.5, _power(decade), anchor="end")
    yield f'<path d="M{panel.left:.1f} {panel.top:.1f}V{bottom:.1f}h{PANEL_WIDTH}" stroke="{INK}" fill="none"/>'
    every = max(1, math.ceil(len(wheres) / MOST_LABELS))
    for index in range(0, len(wheres), every):
        yield _slanted(panel.x(index) + 3, bottom + 12, _shortened(wheres[index]))


def _curve(panel: Panel, curve: Curve) -> Iterator[str]:
    points = [
        (panel.x(index), panel.y(value))
        for index, value in enumerate(curve.values)
        if math.isfinite(value) and value > 0
    ]
    if points:
        yield _line(points, is_after=curve.is_after)
    if len(points) <= MOST_MARKS:
        yield from (_mark(x, y, is_after=curve.is_after) for x, y in points)


def _line(points: Sequence[tuple[float, float]], *, is_after: bool) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    colour, dash = (AFTER, "") if is_after else (BEFORE, ' stroke-dasharray="5 3"')
    return f'<path d="{path}" stroke="{colour}" stroke-width="1.8" fill="none"{dash}/>'


def _mark(x: float, y: float, *, is_after: bool) -> str:
    """A dot after a repair, an open square before it."""
    if is_after:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{AFTER}"/>'
    return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="white" stroke="{BEFORE}"/>'


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    cls = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{cls} text-anchor="{anchor}">{escape(text)}</text>'


def _slanted(x: float, y: float, text: str) -> str:
    turned = f'text-anchor="end" transform="rotate(-30 {x:.1f} {y:.1f})"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {turned}>{escape(text)}</text>'


def _power(decade: int) -> str:
    return f"{10.0**decade:g}" if abs(decade) < 4 else f"1e{decade}"  # noqa: PLR2004 - zeros that are read at once


def _shortened(where: str) -> str:
    if not where:
        return "output"
    return where if len(where) <= 16 else "…" + where[-15:]  # noqa: PLR2004 - what fits
