"""Explain real out-of-memory messages, whose modules are known, and say how often it is right.

    python benchmarks/explain_messages.py CFGS

CFGS is a folder of OpenPCDet's configs (tools/cfgs). Prints the table of docs/explain.md: each
message alone, and with its traceback.
"""

import json
import sys
from pathlib import Path
from typing import Any

from bevdiag.explain.answer import Candidate
from bevdiag.explain.explain import explain
from bevdiag.prediction.options import InspectOptions

ROOT = Path(__file__).parents[1]
MESSAGES = ROOT / "tests" / "data" / "oom_messages_h200.json"


def main(configs: Path) -> None:
    """One line a message."""
    rows = json.loads(MESSAGES.read_text(encoding="utf-8"))
    named = {"message": 0, "traceback": 0}
    print("| config | batch | autocast | asked for | module that asked | message | traceback |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        words = {}
        for text in named:
            first = _first(row, text, configs)
            is_right = first is not None and first.module == row["module"]
            named[text] += is_right
            certainty = first.certainty.value if first is not None else "nothing"
            words[text] = f"{'named' if is_right else 'not named'}, {certainty}"
        asked = row["message"].partition("allocate ")[2].partition(". GPU")[0]
        cells = (
            f"{row['config']} {row['compression'] or ''}".strip(),
            str(row["batch_size"]),
            row["autocast"],
            asked,
            f"{row['module'] or 'the loss'}, {row['phase']} of step {row['step']}",
            words["message"],
            words["traceback"],
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    print({text: f"{count} of {len(rows)}" for text, count in named.items()})


def _first(row: dict[str, Any], text: str, configs: Path) -> Candidate | None:
    shipped = row["compression"] is not None
    found = explain(
        row[text],
        ROOT / row["config"] if shipped else configs / row["config"],
        InspectOptions(
            device="meta",
            batch_size=row["batch_size"],
            autocast=row["autocast"],
            optimizer="adamw",
            compression=row["compression"],
        ),
        lambda what, share: None,
    )
    return found.candidates[0] if found.candidates else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
