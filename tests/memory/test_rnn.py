"""Recurrent layers' reserve and workspace, against what cuDNN asked an H200 for."""

import json
from pathlib import Path
from typing import Any

import pytest

from bevdiag.memory.device import make_target
from bevdiag.memory.requests import RnnCall
from bevdiag.memory.rnn import reserve_bytes
from bevdiag.memory.workspaces import workspace

DATA = json.loads((Path(__file__).parents[1] / "data" / "rnn_h200.json").read_text("utf-8"))
H200 = make_target(torch="2.11.0", gpu="h200")


@pytest.mark.parametrize("row", DATA["rows"])
def test_the_reserve_is_exact_and_the_workspace_in_its_interval(row: dict[str, Any]) -> None:
    seen, reserve = row["workspace_bytes"], row["reserve_bytes"]
    call = RnnCall(
        **{key: row[key] for key in row if not key.endswith("_bytes")},
        element_bytes=row["element_bytes"],
    )
    assert reserve_bytes(call) == reserve
    reported = workspace(call, H200)
    assert reported.low <= seen <= reported.high
    if row["kind"] in ("lstm", "gru") and row["hidden"] >= 200 and row["directions"] == 1:
        assert reported.expected == pytest.approx(seen, rel=0.025)
