"""An explanation as text: the answer first, whatever the width."""

from dataclasses import replace

import pytest

from bevdiag.explain.answer import (
    Candidate,
    Certainty,
    Explanation,
    Failure,
    Figure,
    Suspicion,
)
from bevdiag.explain.kinds import FAULT, kinds
from bevdiag.memory.device import DeviceTarget
from bevdiag.report.printable import Layout
from bevdiag.report.text.explain_report import write_explain
from bevdiag.report.text.prose import rendered
from bevdiag.rules.finding import Finding, Fix, Price, Severity

_FIGURE = Figure("75.10 GiB", 80_632_642_273, 80_643_379_691)
_FAILURE = Failure(
    kind=kinds()["allocator"],
    sentence="CUDA out of memory. Tried to allocate 75.10 GiB",
    line=1,
    requested=_FIGURE,
)
_TARGET = DeviceTarget(
    gpu=None,
    capacity_bytes=None,
    torch="2.13.0",
    cudnn=(9, 20, 0),
    compute_capability=(9, 0),
    multiprocessors=132,
)


def _candidate(module: str, certainty: Certainty) -> Candidate:
    return Candidate(
        module=module,
        phase="forward",
        step=1,
        what="im2col buffer (workspace) of the forward convolution",
        arithmetic="22,400 channels x 9 x 100,000 positions x 4 B = 75.10 GiB",
        nbytes=80_640_000_000,
        requested_bytes=80_641_785_856,
        allocated_bytes=2**30,
        condition="cuDNN before 9.3",
        certainty=certainty,
        reasons=("its segment prints as 75.10 GiB",),
    )


def _explanation(*candidates: Candidate) -> Explanation:
    return Explanation(
        failure=_FAILURE,
        others=(),
        decoded=("75.10 GiB is the segment.",),
        config="model.yaml",
        target=_TARGET,
        candidates=candidates,
    )


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_answer_stands_first_and_nothing_is_too_wide(width: int) -> None:
    first = _candidate("backbone_2d.blocks.0.1", Certainty.CERTAIN)
    second = _candidate("dense_head.conv_cls", Certainty.POSSIBLE)
    text = rendered(Layout(width=width), write_explain, _explanation(first, second))
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    joined = " ".join(text.split())
    assert joined.startswith(
        "It is: the im2col buffer (workspace) of the forward convolution in backbone_2d.blocks.0.1,"
    )
    assert "With cuDNN before 9.3." in joined
    assert joined.index("It could also be") < joined.index("dense_head.conv_cls")


@pytest.mark.parametrize(
    ("certainty", "words"),
    [(Certainty.LIKELY, "Most likely it is:"), (Certainty.POSSIBLE, "It may be:")],
)
def test_doubt_is_said(certainty: Certainty, words: str) -> None:
    text = rendered(Layout(), write_explain, _explanation(_candidate("vfe", certainty)))
    assert text.startswith(words)


def test_nothing_found_is_said_too() -> None:
    text = " ".join(rendered(Layout(), write_explain, _explanation()).split())
    assert "No allocation of the predicted step is that large" in text


def test_a_rules_finding_names_what_can_be_written_against_it() -> None:
    fix = Fix(id="batch-1", group="batch", title="", price=Price.MODEL, loses="")
    found = Finding(code="BEV301", severity=Severity.ERROR, message="over", fixes=(fix,))
    suspicion = Suspicion(code="BEV301", name="x", summary="y", fix=(), findings=(found,))
    failure = replace(_FAILURE, kind=FAULT)
    text = rendered(
        Layout(), write_explain, replace(_explanation(), failure=failure, suspicions=(suspicion,))
    )
    assert "fix: batch-1 (bevdiag fix traces the cheapest first)" in text
