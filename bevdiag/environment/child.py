"""Imports what a training imports and says how that went; run as a program of its own.

    python child.py STAGE...

A wrong build does not raise, it kills the interpreter. So a JSON line goes out after each stage:
the first that is missing at the end is of the stage that died. This file imports nothing of
bevdiag, which may not be on the path here.
"""

import json
import sys
from collections.abc import Callable
from typing import Any


def _torch() -> dict[str, Any]:
    import torch

    cudnn = torch.backends.cudnn.version() if torch.version.cuda else None  # type: ignore[no-untyped-call]
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": cudnn,
        "kernels": torch.cuda.get_arch_list() if torch.cuda.is_available() else [],
    }


def _cumm() -> dict[str, Any]:
    import numpy
    from cumm import tensorview

    # The import succeeds with either NumPy; looking into an array does not.
    tensorview.from_numpy(numpy.zeros(4, numpy.float32)).numpy()
    return {"numpy": numpy.__version__}


def _spconv() -> dict[str, Any]:
    import spconv.pytorch

    return {"version": getattr(spconv, "__version__", "")}


STAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "torch": _torch,
    "cumm": _cumm,
    "spconv": _spconv,
}


def main(names: list[str]) -> None:
    """Run the stages in order; an exception ends one, a signal ends all."""
    for name in names:
        try:
            outcome: dict[str, Any] = {"facts": STAGES[name]()}
        except BaseException as error:  # whatever a foreign import raises is the answer
            outcome = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps({"stage": name, **outcome}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
