"""The plugin in test sessions of its own; they share this process, which has torch already."""

import importlib.util
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch
from torch import nn

import bevdiag.source.stubs.spconv  # noqa: F401
from bevdiag.prediction.module import Module
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import predict
from bevdiag.report.printable import Layout
from bevdiag.report.text.inspect_report import write_model
from bevdiag.report.text.prose import rendered

pytest_plugins = ["pytester"]

_INSTALLED = bool(entry_points(group="pytest11", name="bevdiag"))


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported() -> None:
    """What a session imports first it forgets at its end, and operators are registered once."""
    report = predict(
        Module(nn.Linear(2, 2), torch.zeros(1, 2), None, InspectOptions(budget_bytes=1))
    )
    rendered(Layout(), write_model, report)


_HEADER = """
import pytest
import torch
from torch import nn

def network():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))

def images():
    return torch.zeros(2, 3, 64, 64)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(_HEADER + source)
        return pytester.runpytest_inprocess(
            *(() if _INSTALLED else ("-p", "bevdiag.pytest_plugin")),
            *("--strict-markers", "-p", "no:cacheprovider"),
            *("-p", "no:hypothesispytest"),  # it takes seconds to be imported
            *options,
        )

    return run


def test_what_fits_passes_and_what_does_not_fails_with_the_holders(run):
    result = run("""
@pytest.mark.gpu_budget("24GiB")
def test_fits():
    return network(), images()

@pytest.mark.gpu_budget("6MiB")
def test_is_over():
    return network(), images().repeat(8, 1, 1, 1)

def test_unmarked():
    pass
""")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            "Does not fit the budget (6.0 MiB usable): the step stops in * asking for *",
            "*CUDA out of memory. Tried to allocate*",
            "*2.0 MiB *activation*",
            "*aten.relu.default*16x8x64x64 float32",
        ]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    result.stdout.no_fnmatch_line("*PytestReturnNotNoneWarning*")


def test_fixtures_classes_parameters_and_a_loss(run):
    result = run("""
@pytest.fixture
def model():
    return network()

@pytest.mark.gpu_budget(gpu="rtx4090", autocast="fp16", optimizer="sgd", steps=3)
class TestDetector:
    @pytest.mark.parametrize("batch", [1, 2])
    def test_step(self, model, batch):
        return model, images()[:batch], lambda out: out.square().mean()

    @pytest.mark.gpu_budget(1)
    def test_the_closest_marker_counts(self, model):
        return model, images()
""")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["Does not fit the budget (1 B usable)*"])


_REFUSED = [
    ("'1GiB'", "None", "the test returned NoneType; it must return (model, inputs)*"),
    ("'1GiB'", "network()", "the test returned Sequential; *"),
    ("'1GiB'", "(images(), network())", "the test returned (Tensor, Sequential); *"),
    ("'1GiB'", "(network(), images(), 3)", "the test returned (Sequential, Tensor, int); *"),
    ("'1GiB'", "(nn.ReLU(), images())", "the model has no parameter that is trained"),
    ("'1GiB'", "(nn.LazyLinear(2), images())", "the model has lazy parameters: *"),
    ("'big'", "(network(), images())", "'big' is no size: *"),
    ("", "(network(), images())", "say what the step must fit: *"),
    ("'1GiB', '2GiB'", "(network(), images())", "it takes one size, not '1GiB', '2GiB'"),
    ("'1GiB', card='a'", "(network(), images())", "it takes a size and gpu, *, not card"),
    ("gpu='rtx1'", "(network(), images())", "GPU 'rtx1' is not in the catalogue*"),
    ("'1GiB', steps=1", "(network(), images())", "steps=1: at least 2*"),
    ("'1GiB', autocast='int8'", "(network(), images())", "autocast='int8': take one of off*"),
    ("'1GiB', optimizer='lion'", "(network(), images())", "optimizer='lion': take one of *"),
    (
        "'1GiB'",
        "(type('SubMConv3d', (nn.Linear,), {'__module__': 'spconv.pytorch.conv'})(3, 3), images())",
        "the model is a layer of the installed spconv*",
    ),
]


def test_what_cannot_be_judged_is_one_sentence(run):
    result = run(
        "".join(
            f"""
@pytest.mark.gpu_budget({arguments})
def test_{number}():
    return {returned}
"""
            for number, (arguments, returned, _) in enumerate(_REFUSED)
        )
    )
    result.assert_outcomes(failed=len(_REFUSED))
    result.stdout.fnmatch_lines([f"gpu_budget: {said}" for *_, said in _REFUSED])
    result.stdout.no_fnmatch_line("*During handling*")


def test_an_error_of_the_model_is_an_ordinary_failure_with_its_place(run):
    result = run("""
@pytest.mark.gpu_budget("1GiB")
def test_step():
    return network(), images()[:, :2]
""")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *RuntimeError: *"])


def test_a_unittest_method_is_refused(run):
    result = run("""
import unittest

class TestOld(unittest.TestCase):
    @pytest.mark.gpu_budget("1GiB")
    def test_step(self):
        return network(), images()
""")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*gpu_budget: a method of a unittest.TestCase cannot *"])


_SPARSE = """
@pytest.mark.gpu_budget("1GiB")
def test_step():
    import spconv.pytorch as spconv

    class Backbone(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = spconv.SubMConv3d(4, 8, 3, indice_key="subm")

        def forward(self, features, coordinates):
            return self.conv(spconv.SparseConvTensor(features, coordinates, [8, 8, 8], 1)).dense()

    coordinates = torch.tensor([[0, 1, 2, x] for x in range(5)], dtype=torch.int32)
    return Backbone(), (torch.zeros(5, 4), coordinates)
"""


def test_a_stand_in_answers_where_spconv_is_not_installed(run, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *_: None if name == "spconv" else find_spec(name)
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "spconv"]:
        monkeypatch.delitem(sys.modules, name)
    result = run(
        _SPARSE
        + """
def test_it_is_gone_afterwards():
    import sys
    assert "spconv" not in sys.modules
"""
    )
    result.assert_outcomes(passed=2)


def test_the_setting_puts_it_before_an_installed_spconv(run):
    run(_SPARSE, "-o", "gpu_budget_spconv_standin=true").assert_outcomes(passed=1)


def test_the_marker_is_reported(run):
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.gpu_budget(size=None, *"])


def test_without_a_marked_test_torch_is_not_imported():
    program = "import sys, bevdiag.pytest_plugin; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_installation_brings_it():
    project = Path(__file__).parents[1] / "pyproject.toml"
    assert '[project.entry-points.pytest11]\nbevdiag = "bevdiag.pytest_plugin"\n' in (
        project.read_text(encoding="utf-8")
    )
