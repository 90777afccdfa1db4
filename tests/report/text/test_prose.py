from bevdiag.prediction.result import Target
from bevdiag.report.layout import Layout
from bevdiag.report.text.prose import (
    beside_of,
    budget_name,
    heading,
    judged_by,
    labelled,
    paragraph,
)

GIB = 2**30
TARGET = Target(
    gpu="rtx4090",
    capacity_bytes=23 * GIB,
    torch="2.13.0",
    cudnn="9.1",
    compute_capability="8.9",
    context_bytes=GIB,
    origin="--gpu",
)


def _texts(lines: list[object]) -> list[str]:
    return [str(line) for line in lines]


def test_a_heading_reaches_the_right_edge_and_shows_no_control_character() -> None:
    blank, title = _texts(heading("A\x1b", Layout(20)))
    assert blank == ""
    assert len(title) == 20
    assert "\x1b" not in title
    assert str(heading("A", Layout(9, unicode=False))[1]) == "A -------"


def test_a_label_stands_before_the_first_line_alone() -> None:
    lines = _texts(labelled("GPU", "one two three", Layout(16), column=6))
    assert lines == ["  GPU   one two", "        three"]
    assert _texts(labelled("GPU", "", Layout(16), column=6)) == ["  GPU   "]


def test_a_paragraph_is_folded_within_its_indent() -> None:
    assert _texts(paragraph("one two three", Layout(12), indent=4)) == ["    one two", "    three"]


def test_what_the_step_has_to_fit_is_named() -> None:
    assert budget_name(TARGET) == "rtx4090 (23.00 GiB usable)"
    assert judged_by(TARGET).endswith("of CUDA context, libraries and spconv's kernels: from --gpu")
    assert " beside 1.00 GiB (assumed)" in beside_of(TARGET)
