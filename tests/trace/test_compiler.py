"""In a process of its own: this one may have imported torch._dynamo long ago."""

import json
import subprocess
import sys

import pytest

_SCRIPT = """
import json, sys
import torch
from torch import nn
from bevdiag.config.model_settings import OptimizationSettings
from bevdiag.trace.compiler import without_compiler
from bevdiag.trace.step import StepOptions, trace_steps

class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4, device="meta")
    def forward(self, batch):
        return self.layer(batch["x"]).softmax(-1).max(1)[0].sum()

batch, seen = {"x": torch.empty(8, 4, device="meta")}, {}
for optimizer in ("adam", "adamw", "sgd", "adam_onecycle"):
    options = StepOptions(optimization=OptimizationSettings(), optimizer=optimizer)
    trace_steps(Toy(), batch, options)
seen["imported by a trace"] = "torch._dynamo" in sys.modules or "_dynamo" in vars(torch)
shapes = "torch.fx.experimental.symbolic_shapes"
seen["symbolic sizes"] = [name for name in ("sympy", shapes) if name in sys.modules]

with without_compiler():
    from torch.fx.experimental.symbolic_shapes import (
        free_unbacked_symbols, guard_or_false, sym_and, sym_eq
    )
    seen["plain"] = [
        guard_or_false(2 > 1), sym_and(True, False), sym_eq((1, 2), [1, 2]), sym_eq((1,), (1, 2)),
        bool(free_unbacked_symbols(batch["x"])),
    ]
    seen["still plain"] = "sympy" in sys.modules and not hasattr(sys.modules["sympy"], "__file__")
    import sympy
    seen["sympy on demand"] = str(sympy.Symbol("x") + 1) == "x + 1"
    seen["its classes"] = isinstance(sympy.Symbol("x"), sympy.Basic)
    from torch.fx.experimental import symbolic_shapes
    seen["shapes on demand"] = symbolic_shapes.ShapeEnv.__module__ == shapes

with without_compiler():
    stub = sys.modules["torch._dynamo"]
    seen["disable"] = torch._dynamo.disable(len) is len
    seen["graph_break"] = torch._dynamo.graph_break() is None
    seen["stand-in"] = type(stub).__name__
    seen["real on demand"] = torch._dynamo.config.cache_size_limit > 0
    seen["replaced"] = sys.modules["torch._dynamo"] is not stub
import torch._dynamo
real = sys.modules["torch._dynamo"]
seen["afterwards"] = real is torch._dynamo and real is not stub
with without_compiler():
    seen["left alone"] = sys.modules["torch._dynamo"] is real
seen["still there"] = sys.modules["torch._dynamo"] is real
print(json.dumps(seen))
"""

_PARTS = """
import sys
from bevdiag.trace.compiler import without_compiler

with without_compiler():
    stub = sys.modules["torch._dynamo"]
    # As torchvision does when it is imported.
    from torch._dynamo.utils import is_compile_supported
    import torch
    assert sys.modules["torch._dynamo"] is torch._dynamo is not stub
    assert torch._dynamo.utils is sys.modules["torch._dynamo.utils"]
    assert torch._dynamo.utils.is_compile_supported is is_compile_supported
    assert torch._dynamo.utils.__spec__.origin.endswith("utils.py")
assert all(type(finder).__name__ != "_Parts" for finder in sys.meta_path)
"""


@pytest.fixture(scope="module")
def seen() -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def test_a_trace_does_not_import_the_compiler(seen: dict[str, object]) -> None:
    assert seen["imported by a trace"] is False


def test_sizes_that_are_numbers_need_no_symbols(seen: dict[str, object]) -> None:
    assert seen["symbolic sizes"] == []
    assert seen["plain"] == [True, False, True, False, False]
    assert seen["still plain"] is True


def test_who_really_asks_for_symbols_gets_them(seen: dict[str, object]) -> None:
    assert seen["sympy on demand"] is True
    assert seen["its classes"] is True
    assert seen["shapes on demand"] is True


def test_a_stand_in_answers_the_wrappers(seen: dict[str, object]) -> None:
    assert seen["stand-in"] == "_Unneeded"
    assert seen["disable"] is True
    assert seen["graph_break"] is True


def test_who_really_asks_gets_the_compiler(seen: dict[str, object]) -> None:
    assert seen["real on demand"] is True
    assert seen["replaced"] is True


def test_the_compiler_is_usable_afterwards(seen: dict[str, object]) -> None:
    assert seen["afterwards"] is True


def test_a_compiler_that_is_imported_already_is_left_alone(seen: dict[str, object]) -> None:
    assert seen["left alone"] is True
    assert seen["still there"] is True


def test_a_library_that_imports_a_part_of_the_compiler_gets_the_real_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PARTS], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 0, done.stderr
