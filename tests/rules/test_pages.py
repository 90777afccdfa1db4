"""The pages of the rules: whole, generated, and with a thread behind each."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.rules.codes import CODES
from bevdiag.rules.pages import PARTS, codes_for, find_code, rule_page


@pytest.mark.parametrize("code", CODES)
def test_a_page_has_all_parts_and_a_thread(code: str) -> None:
    page = rule_page(code)
    assert page.summary.endswith(".")
    assert all(page.parts[part] and all(page.parts[part]) for part in PARTS)
    assert re.search(r"\S+#\d+ \(https://github\.com/\S+/\d+\): \S", page.parts["Seen in"][0])


def test_codes_and_names_are_unique_and_in_order() -> None:
    assert list(CODES) == sorted(CODES)
    assert all(code == row.code for code, row in CODES.items())
    assert len({row.name for row in CODES.values()}) == len(CODES)


def test_a_rule_is_found_by_code_or_name_in_any_case() -> None:
    assert find_code("bev203") is find_code("Height-Flatten-Blowup") is CODES["BEV203"]


@pytest.mark.parametrize(("name", "nearest"), [("BEV20", "BEV20"), ("unknown-keys", "unknown-key")])
def test_an_unknown_rule_is_refused_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=f"did you mean '{nearest}"):
        find_code(name)


def test_pages_and_config_rules_import_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path; "
        "from bevdiag.config import read_document; "
        "from bevdiag.rules.checks import check_config; "
        "from bevdiag.rules.pages import rule_page; rule_page('BEV403'); "
        "path = Path('configs/focalsst_dsvt.yaml'); check_config(path, read_document(path)); "
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root, timeout=60)


CASES = [
    # Channels of the BEV map: torch 0.4, 1.x, 2.x.
    ("weight[64, 128, 3, 3], so expected input[4, 192, 60, 70] to have 128 channels, but got 192 "
     "channels instead", "backbone_2d", "BEV201"),
    ("Given groups=1, weight of size 64 128 3 3, expected input[4, 192, 60, 70] to have 128 "
     "channels, but got 192 channels instead", "backbone_2d", "BEV201"),
    ("Given groups=1, weight of size [64, 128, 3, 3], expected input[4, 192, 60, 70] to have 128 "
     "channels, but got 192 channels instead", "", "BEV201"),
    # Levels of the 2D backbone: torch before 1.5, before 1.11, since.
    ("invalid argument 0: Sizes of tensors must match except in dimension 1. Got 31 and 30 in "
     "dimension 2", "backbone_2d", "BEV103"),
    ("Sizes of tensors must match except in dimension 1. Got 31 and 30 in dimension 2 (The "
     "offending index is 1)", "", "BEV103"),
    ("Sizes of tensors must match except in dimension 1. Expected size 30 but got size 31 for "
     "tensor number 1 in the list.", "backbone_2d", "BEV103"),
    # Anchors beside another map.
    ("inconsistent tensor size, expected r_ [2 x 9] and t [2 x 8] to have the same number of "
     "elements, but got 18 and 16 elements respectively", "dense_head", "BEV108"),
    ("The size of tensor a (900) must match the size of tensor b (870) at non-singleton dimension "
     "1", "dense_head", "BEV108"),
    ("The size of tensor a (192) must match the size of tensor b (128) at non-singleton dimension "
     "1", "backbone_3d", "BEV202"),
    # Pillars, heights.
    ("    assert self.nz == 1", "map_to_bev_module", "BEV109"),
    ("ValueError: your out spatial shape [0, 30, 30] reach zero!!! input shape: [2, 30, 30]",
     "backbone_3d", "BEV102"),
    # spconv's limits: 2.1, 2.3, and a kernel that ran over.
    ("int64_t(N) * int64_t(C) < int_max assert faild. your data exceed int32 range.", "", "BEV401"),
    ("RuntimeError: your data exceed int32 range", "backbone_3d", "BEV401"),
    ("CUDA error 700", "backbone_3d", "BEV401"),
    ("cuda execution failed with error 700 an illegal memory access was encountered", "", "BEV104"),
    ("CUDA error: an illegal memory access was encountered", "", "BEV401"),
    # Signals.
    ("Floating point exception (core dumped)", "", "BEV701"),
    ("ERROR: Unexpected floating-point exception encountered in worker.", "", "BEV701"),
    ("DataLoader worker (pid 12) is killed by signal: Floating point exception.", "", "BEV701"),
    ("  traceback : Signal 8 (SIGFPE) received by PID 1", "", "BEV701"),
    ("Segmentation fault (core dumped)", "", "BEV702"),
    # Libraries that do not belong together.
    ("ModuleNotFoundError: No module named 'torch_scatter'", "", "BEV702"),
    ("ImportError: cannot import name 'NVRTCMode' from 'cumm.nvrtc'", "", "BEV703"),
    ("!all_profile_res.empty() assert faild. can't find suitable algorithm for 0", "", "BEV707"),
    ("RuntimeError: CUDA error: no kernel image is available for execution on the device", "",
     "BEV707"),
    ("cuda runtime error (209) : no kernel image is available for execution on the device", "",
     "BEV707"),
    ("CUDA driver version is insufficient for CUDA runtime version", "", "BEV705"),
    ("AssertionError: Torch not compiled with CUDA enabled", "", "BEV711"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "part", "code"), CASES)
def test_a_text_is_mapped_to_its_rule(text: str, part: str, code: str) -> None:
    assert code in codes_for(f"epoch 1\n{text}\n", part or None)


@pytest.mark.parametrize("text", ["", "loss: 0.3", "ValueError: 3 is too many", "N > 0 holds"])
def test_what_no_rule_knows(text: str) -> None:
    assert codes_for(text, None) == ()


def test_a_text_of_another_part_counts_only_where_nothing_else_does() -> None:
    text = "expected input[1, 4, 5, 6] to have 3 channels, but got 4 channels instead"
    assert codes_for(text, "backbone_2d") == ("BEV201",)
    assert codes_for(text, "map_to_bev_module") == ("BEV202",)
    assert {"BEV201", "BEV202"} <= set(codes_for(text, None))
    assert codes_for(text, "") == ()


def test_a_terminals_line_breaks_do_not_matter() -> None:
    assert codes_for("Sizes of tensors\nmust match except in\ndimension 1", "backbone_2d") == (
        "BEV103",
    )
