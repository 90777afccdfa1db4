import pytest

from bevdiag.memory.device import DeviceTarget
from bevdiag.report.printable import Layout
from bevdiag.report.text.prose import Page, beside_of, budget_name, judged_by, module_or_phase

from .conftest import written

GIB = 2**30
TARGET = DeviceTarget(
    gpu="rtx4090",
    capacity_bytes=23 * GIB,
    torch="2.13.0",
    cudnn=(9, 1, 0),
    compute_capability=(8, 9),
    multiprocessors=132,
    context_bytes=GIB,
    origin="--gpu",
)


def test_a_heading_reaches_the_right_edge_and_shows_no_control_character() -> None:
    blank, title = written(Page.heading, "A\x1b", layout=Layout(20))
    assert blank == ""
    assert len(title) == 20
    assert "\x1b" not in title
    assert written(Page.heading, "A", layout=Layout(9, unicode=False))[1] == "A -------"


def test_a_label_stands_before_the_first_line_alone() -> None:
    lines = written(Page.labelled, [("GPU", "one two three")], column=6, layout=Layout(16))
    assert lines == ["  GPU   one two", "        three"]
    assert written(Page.labelled, [("GPU", "")], column=6) == []


def test_a_paragraph_is_folded_within_its_indent() -> None:
    assert written(Page.paragraph, "one two three", indent=4, layout=Layout(12)) == [
        "    one two",
        "    three",
    ]


def test_what_the_step_has_to_fit_is_named() -> None:
    assert budget_name(TARGET) == "rtx4090 (23.00 GiB usable)"
    assert judged_by(TARGET).endswith("of CUDA context, libraries and spconv's kernels: from --gpu")
    assert " beside 1.00 GiB (assumed)" in beside_of(TARGET)


def test_the_rule_beside_a_heading_ends_at_the_edge_whatever_it_says() -> None:
    page = Page(Layout(80))
    page.heading("測試.yaml")
    assert page.lines[-1].cell_len == 80


@pytest.mark.parametrize(
    ("module", "phase", "words"),
    [
        ("backbone_2d", "forward", "backbone_2d"),
        ("", "forward", "the loss"),
        ("", "backward", "the backward pass of the loss"),
        ("", "optimizer", "the optimizer"),
    ],
)
def test_an_operation_outside_modules_is_named_by_its_part_of_the_step(
    module: str, phase: str, words: str
) -> None:
    assert module_or_phase(module, phase) == words
