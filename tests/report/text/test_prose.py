from bevdiag.memory.device import DeviceTarget
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import Page, beside_of, budget_name, judged_by

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
