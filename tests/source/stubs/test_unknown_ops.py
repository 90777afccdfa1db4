import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bevdiag.source.simulated_gpu import SimulatedGpu
from bevdiag.source.state import begin
from bevdiag.source.stubs.imports import StubFinder
from bevdiag.source.stubs.unknown_ops import (
    Function,
    TritonKernel,
    folder_of,
    functions_in,
    unknown_op,
)
from bevdiag.trace.assumed_values import AssumedValues, Scenario
from bevdiag.trace.attribution import Attribution
from bevdiag.trace.ops import new_recorder
from tests.source.stubs.finders import Write

REPOSITORY = Path(__file__).parents[1] / "own_data"
OPS = REPOSITORY / "pcdet" / "ops" / "twist"


@pytest.fixture
def compiled(finder: StubFinder) -> Iterator[StubFinder]:
    first = SimpleNamespace(find_spec=finder.find_built)
    sys.meta_path.insert(0, first)
    yield finder
    sys.meta_path.remove(first)


def test_an_operator_that_is_built_gets_its_stub_all_the_same(
    compiled: StubFinder, write: Write, tmp_path: Path
) -> None:
    # No library at all: loading it would fail.
    ops = tmp_path / "repo" / "ops_13"
    ops.mkdir()
    (ops / "__init__.py").touch()
    (ops / f"spin_13{importlib.machinery.EXTENSION_SUFFIXES[0]}").write_bytes(b"built for a GPU")
    (ops / "setup.py").write_text("CUDAExtension('ops_13.spin_13', [])")
    (ops / "spin.cpp").write_text('void spin(int n) {}\nm.def("spin_wrapper", &spin);')
    module = write("repo/of_repo_13.py", "from ops_13.spin_13 import spin_wrapper")
    assert module.spin_wrapper.__name__ == "spin_wrapper"


def test_kernels_that_are_installed_get_a_stub_where_the_repository_asks(
    compiled: StubFinder, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "triton", raising=False)
    (tmp_path / "site" / "triton.py").write_text("jit = 'the real one'")
    library = write("site/library_14.py", "import triton")
    assert library.triton.jit == "the real one"
    del sys.modules["triton"]
    module = write("repo/of_repo_14.py", "import triton\n\n@triton.jit\ndef kernel(x): ...")
    assert isinstance(module.kernel, TritonKernel)


def test_a_module_is_known_by_its_setup() -> None:
    assert folder_of(REPOSITORY, "TWIST_OP", [OPS]) == OPS
    assert folder_of(REPOSITORY, "twist", [OPS]) is None


def test_what_its_functions_return() -> None:
    functions = functions_in(REPOSITORY, OPS)
    assert functions["twist_wrapper"].returns_tensors is False
    assert functions["untwist"].returns_tensors is True
    assert functions["untwist"].place == "pcdet/ops/twist/src/twist.cpp:7"


def test_a_module_is_known_by_its_own_cpp(tmp_path: Path) -> None:
    (tmp_path / "op.cu").write_text("PYBIND11_MODULE(plain_name, m) {}")
    assert folder_of(tmp_path, "plain_name", []) == tmp_path


def test_zeros_are_forgotten_where_an_unknown_kernel_writes() -> None:
    values = AssumedValues(Scenario.EXPECTED, {})
    recorder = new_recorder(Attribution(nn.Module()))
    recorder.unknown = values
    gpu = SimulatedGpu(recorder, values)
    begin(gpu)
    with recorder, gpu:
        out = torch.empty(4, device="meta").new_zeros(4)
        unknown_op("twist_ext", Function("twist", False, ""))(torch.empty(4, device="meta"), out)
        assert values.mask(out != 0, values.question("mask")).any()
