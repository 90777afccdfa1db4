"""Failures that are not about memory: from the text to the rule and the key."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.errors import ExitCode, InputError, NoVerdictError
from bevdiag.explain.answer import Certainty, Explanation
from bevdiag.explain.explain import explain
from bevdiag.explain.kinds import FAULT, kinds
from bevdiag.prediction.options import InspectOptions

RULES = Path(__file__).parents[1] / "rules"
CAT = "Sizes of tensors must match except in dimension 1. Expected size 30 but got size 31"


def _explain(text: str, config: Path | None = None) -> Explanation:
    options = replace(InspectOptions(device="meta"), remedies=False)
    return explain(text, config, options, lambda what, share: None)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("BEV102", "ValueError: your out spatial shape [0, 30, 30] reach zero!!!"),
        ("BEV103", f"RuntimeError: {CAT}"),
        ("BEV104", "RuntimeError: CUDA error: device-side assert triggered"),
        ("BEV108", "The size of tensor a (90) must match the size of tensor b (80) at non-singleton"
         " dimension 1"),
        ("BEV109", "assert self.nz == 1\nAssertionError"),
        ("BEV201", "expected input[2, 384, 90, 90] to have 256 channels, but got 384 channels "
         "instead"),
    ],
)  # fmt: skip
def test_the_config_with_that_fault_is_pointed_at(code: str, text: str) -> None:
    config = RULES / code / "bad.yaml"
    found = _explain(text, config)
    first = found.suspicions[0]
    assert first.code == code
    assert first.looked_at == "the config"
    assert first.findings
    location = first.findings[0].location
    assert location is not None
    assert location.file == config
    assert first.findings[0].key
    assert found.exit_code is ExitCode.FITS


def _mismatch(wants: int, gets: int) -> Explanation:
    text = f"expected input[2, {gets}, 9, 9] to have {wants} channels, but got {gets} channels"
    return _explain(f"{text} instead", RULES / "BEV201" / "bad.yaml")


def test_the_same_numbers_in_text_and_finding_are_certain() -> None:
    message = _mismatch(1, 2).suspicions[0].findings[0].message
    wants, gets = (int(number) for number in re.findall(r"\d+", message)[:2])
    first = _mismatch(wants, gets).suspicions[0]
    assert (first.code, first.certainty, first.doubt) == ("BEV201", Certainty.CERTAIN, "")


def test_other_numbers_than_the_findings_are_a_doubt() -> None:
    first = _mismatch(7, 9).suspicions[0]
    assert (first.code, first.certainty) == ("BEV201", Certainty.POSSIBLE)
    assert "7 and 9" in first.doubt
    assert first.findings


def test_numbers_of_the_findings_arithmetic_are_no_agreement() -> None:
    message = _mismatch(1, 2).suspicions[0].findings[0].message
    *_, channels, _, real = (int(number) for number in re.findall(r"\d+", message))
    assert _mismatch(channels, real).suspicions[0].certainty is Certainty.POSSIBLE


@pytest.mark.parametrize(
    ("name", "certainty"),
    [("BaseBevBackbone", Certainty.CERTAIN), ("AnotherNet", Certainty.POSSIBLE)],
)
def test_a_name_is_compared_as_well(name: str, certainty: Certainty) -> None:
    config = RULES / "BEV008" / "bad_typo.yaml"
    for pointer in ("", "    ~~~~^^^^\n"):
        text = f"    module = backbones.__all__[cfg.NAME](\n{pointer}KeyError: '{name}'"
        first = _explain(text, config).suspicions[0]
        assert (first.code, first.certainty) == ("BEV008", certainty)


def test_a_text_without_numbers_is_likely() -> None:
    first = _explain("assert self.nz == 1", RULES / "BEV109" / "bad.yaml").suspicions[0]
    assert first.certainty is Certainty.LIKELY


def test_a_known_text_of_another_part_names_its_rule_as_no_answer() -> None:
    found = _explain(
        "Traceback (most recent call last):\n"
        '  File "/x/pcdet/models/roi_heads/voxelrcnn_head.py", line 1, in forward\n'
        "RuntimeError: expected input[2, 8, 9] to have 9 channels, but got 8 channels instead\n"
    )
    assert found.suspicions == ()
    assert "roi_head, where no rule looks for it" in found.notes[0]


def test_an_unknown_text_is_beside_what_the_config_has() -> None:
    with pytest.raises(NoVerdictError, match=r"bad\.yaml has BEV201"):
        _explain("KeyError: 'gt_names'", RULES / "BEV201" / "bad.yaml")


def test_a_config_without_the_fault_is_no_verdict() -> None:
    found = _explain(CAT, RULES / "BEV103" / "fixed.yaml")
    assert [(one.code, one.findings) for one in found.suspicions] == [
        ("BEV103", ()),
        ("BEV110", ()),
    ]
    assert found.exit_code is ExitCode.NO_VERDICT


def test_another_fault_of_the_config_is_named() -> None:
    found = _explain(CAT, RULES / "BEV201" / "bad.yaml")
    assert any("BEV201" in note for note in found.notes)


def test_without_a_config_the_rule_and_its_fix_are_named() -> None:
    found = _explain(CAT)
    first = found.suspicions[0]
    assert (first.code, first.looked_at) == ("BEV103", "")
    assert first.fix
    assert found.exit_code is ExitCode.FITS


def test_the_traceback_tells_which_part_printed_it() -> None:
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/x/pcdet/models/dense_heads/anchor_head_template.py", line 1, in get_loss\n'
        "RuntimeError: The size of tensor a (90) must match the size of tensor b (80) at "
        "non-singleton dimension 1\n"
    )
    assert [one.code for one in _explain(traceback).suspicions] == ["BEV108"]
    other = traceback.replace("dense_heads/anchor_head_template", "backbones_3d/dsvt")
    assert [one.code for one in _explain(other).suspicions] == ["BEV202"]


@pytest.mark.parametrize(
    ("module", "how"),
    [
        ("torch_scatter", "torch-scatter"),
        ("SharedArray", "SharedArray"),
        ("cv2", "opencv-python"),
        ("pcdet.ops.iou3d_nms.iou3d_nms_cuda", "setup.py develop"),
        ("easydict", "pip install easydict"),
    ],
)
def test_a_missing_module_is_named_with_what_brings_it(module: str, how: str) -> None:
    found = _explain(f"ModuleNotFoundError: No module named '{module}'")
    assert any(module in note and how in note for note in found.notes)


def test_a_fault_of_the_environment_is_the_doctors() -> None:
    found = _explain("Floating point exception (core dumped)", RULES / "second.yaml")
    assert found.suspicions[0].code == "BEV701"
    assert any("bevdiag doctor" in note for note in found.notes)


def test_the_last_failure_counts_whatever_its_kind() -> None:
    memory = "CUDA out of memory. Tried to allocate 2.00 GiB"
    assert _explain(f"{memory}\n{CAT}").failure.kind is FAULT
    assert _explain(f"{CAT}\n{memory}").failure.kind is kinds()["allocator"]


def test_an_unknown_failure_is_said_to_be_unknown_with_what_was_looked_for() -> None:
    with pytest.raises(NoVerdictError, match=r"unknown to bevdiag: .KeyError: 'gt_names'") as error:
        _explain("Traceback (most recent call last):\nKeyError: 'gt_names'")
    assert "BEV103" in str(error.value)
    with pytest.raises(InputError, match="no message of a failure: looked for were"):
        _explain("epoch 3, loss 0.2")


@pytest.mark.parametrize(
    ("text", "is_doubtful"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB\nskipped\nKeyError: 'gt_names'", True),
        ("KeyError: 'gt_names'\nKilled", True),
        ("KeyError: 'gt_names'\nCUDA out of memory. Tried to allocate 2.00 GiB", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB\nx.errors.ChildFailedError: ", False),
        ("CUDA out of memory. Tried to allocate 2.00 GiB\nRuntimeError: NCCL error in: x", False),
    ],
)
def test_an_unknown_error_that_may_be_the_cause_is_quoted(text: str, is_doubtful: bool) -> None:
    notes = _explain(text).notes
    assert any("may be the cause: KeyError: 'gt_names'" in note for note in notes) == is_doubtful
    assert is_doubtful or not notes
