"""Remedies as points: what a step reserves with each, against what it computes."""

import math
from typing import Any

from bevdiag.prediction.result import Prediction
from bevdiag.report.amounts import format_bytes
from bevdiag.report.html.template import KINDS

WIDTH, HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 24, 36, 42


def remedy_chart(report: Prediction) -> dict[str, Any] | None:
    """Positions in an SVG of `WIDTH` by `HEIGHT`; None where fewer than two points are known.

    Memory goes to the right, compute upwards, as a share of the step as it is; the target's
    capacity is a line.
    """
    now = flops_per_sample(report)
    known = [r for r in report.remedies if r.reserved_bytes is not None and r.flops is not None]
    if not now or not known:
        return None
    capacity = report.target.capacity_bytes
    memory = [report.peak.reserved_bytes, *(r.reserved_bytes or 0 for r in known)]
    most_bytes = 1.06 * max(*memory, capacity if capacity and capacity < max(memory) else 0)
    shares = [1.0, *((r.flops or 0) / now for r in known)]
    most_share = 1.12 * max(shares)

    def place(nbytes: float, share: float) -> dict[str, str]:
        x = _LEFT + (WIDTH - _LEFT - _RIGHT) * nbytes / most_bytes
        y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * share / most_share
        return {"x": f"{x:.1f}", "y": f"{y:.1f}"}

    points = [place(memory[0], 1.0) | {"name": "as it is", "kind": "plain", "tells": "as it is"}]
    for remedy, nbytes, share in zip(known, memory[1:], shares[1:], strict=True):
        percent = 100 * (remedy.flops or 0) / now
        tells = f"{remedy.id}: {format_bytes(nbytes)}, {percent:.0f} % of the compute"
        point = {"name": remedy.id, "kind": KINDS[remedy.verdict], "tells": tells}
        points.append(place(nbytes, share) | point)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": _LEFT,
        "bottom": HEIGHT - _BOTTOM,
        "top": _TOP,
        "right": WIDTH - _RIGHT,
        "points": points,
        "memory_ticks": [
            place(gib * 2**30, 0) | {"text": f"{gib:g} GiB"}
            for gib in ticks_up_to(most_bytes / 2**30)
        ],
        "compute_ticks": [
            place(0, percent / 100) | {"text": f"{percent:g} %"}
            for percent in ticks_up_to(100 * most_share)
        ],
        "capacity": None
        if capacity is None or capacity > most_bytes
        else place(capacity, 0) | {"text": f"usable {format_bytes(capacity)}"},
    }


def flops_per_sample(report: Prediction) -> int | None:
    """Return what plans' own figures are compared with; None where nothing was counted."""
    if report.flops is None or report.scene is None:
        return None
    return report.flops // report.scene.batch_size


def ticks_up_to(most: float) -> list[float]:
    """Round numbers from 0 up to `most` > 0, three to eleven of them."""
    power = 10.0 ** math.floor(math.log10(most))
    step = next(part * power for part in (0.1, 0.2, 0.25, 0.5, 1) if most / (part * power) <= 10)
    return [number * step for number in range(math.floor(most / step) + 1)]
