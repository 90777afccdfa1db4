"""`@pytest.mark.gpu_budget("24GiB")`: a test returns a model and its inputs; a training step fits.

Neither torch nor the rest of bevdiag is imported before a marked test runs.
"""

import functools
import importlib.util
import sys
import unittest
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from bevdiag.errors import BevdiagError, InputError

if TYPE_CHECKING:
    from bevdiag.prediction.module import Module

MARKER = "gpu_budget"
STUB_SETTING = "gpu_budget_spconv_standin"

_WIDTH = 100
_OPTIONS = ("gpu", "torch", "cudnn", "autocast", "optimizer")
"""What a marker says as the command line does."""
_RUN = ("steps", "keeps_output")
"""How the test's own loop runs."""
_REHEARSE = "rehearse"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the setting that replaces an installed spconv."""
    parser.addini(
        STUB_SETTING,
        "let every import of spconv in this session give bevdiag's stub, which needs no GPU",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(size=None, *, gpu=None, autocast='off', optimizer='adamw', steps=2, torch=None, "
        "cudnn=None, keeps_output=True, rehearse='auto'): the test returns (model, inputs) or "
        "(model, inputs, loss) and fails if a training step does not fit; docs/pytest.md of "
        "bevdiag tells more",
    )
    if config.getini(STUB_SETTING):
        sys.modules.update(_stubs())


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Refuse what would not be judged: unittest keeps what a test returns to itself."""
    owner = getattr(item, "cls", None)
    if item.get_closest_marker(MARKER) and owner and issubclass(owner, unittest.TestCase):
        pytest.fail(
            f"{MARKER}: a method of a unittest.TestCase cannot return a model: use a plain class",
            pytrace=False,
        )


# The older kind of wrapper: an installed plugin must not break a session of an older pytest.
@pytest.hookimpl(hookwrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, None, None]:
    """Judge what a marked test returns."""
    marker = pyfuncitem.get_closest_marker(MARKER)
    if marker is None:
        yield
        return
    function = pyfuncitem.obj

    @functools.wraps(function)
    def judge(**fixtures: Any) -> None:
        with _spconv_at_hand():
            reason = _reason_to_fail(function(**fixtures), marker)
        if reason:
            pytest.fail(reason, pytrace=False)

    pyfuncitem.obj = judge
    yield
    pyfuncitem.obj = function


def _reason_to_fail(returned: object, marker: pytest.Mark) -> str:
    """Why a step does not pass; empty where it fits."""
    from bevdiag.memory.verdict import Verdict
    from bevdiag.prediction.predicted import predict
    from bevdiag.report.printable import Layout
    from bevdiag.report.text.inspect_report import write_model
    from bevdiag.report.text.prose import rendered

    try:
        report = predict(_module(returned, marker))
    except BevdiagError as error:
        return f"{MARKER}: {error}"
    if report.verdict is Verdict.FITS:
        return ""
    return rendered(Layout(width=_WIDTH), write_model, report)


def _module(returned: object, marker: pytest.Mark) -> "Module":
    """Take what the test returned, to be run and judged as the marker says."""
    from bevdiag.memory.sizes import parse_bytes
    from bevdiag.prediction.module import Module, rehearses_if
    from bevdiag.prediction.options import InspectOptions

    if len(marker.args) > 1:
        raise InputError(f"it takes one size, not {', '.join(map(repr, marker.args))}")
    known = (*_OPTIONS, *_RUN, _REHEARSE)
    unknown = [name for name in marker.kwargs if name not in known]
    if unknown:
        raise InputError(f"it takes a size and {', '.join(known)}, not {', '.join(unknown)}")
    given = {name: value for name, value in marker.kwargs.items() if name in _OPTIONS}
    size = parse_bytes(marker.args[0]) if marker.args else None
    if size is None and given.get("gpu") is None:
        raise InputError("say what the step must fit: a size such as '24GiB', or gpu='rtx4090'")
    rehearses = rehearses_if(marker.kwargs.get(_REHEARSE, "auto"))
    options = InspectOptions(budget_bytes=size, rehearses=rehearses, **given)
    run = {name: value for name, value in marker.kwargs.items() if name in _RUN}
    return Module(*_parts(returned), options, **run)


def _parts(returned: object) -> tuple[Any, Any, Any]:
    """Split what the test returned into the model, its inputs and a loss function or None."""
    from torch import nn

    if isinstance(returned, tuple) and len(returned) in (2, 3):
        model, inputs, loss = (*returned, None)[:3]
        if isinstance(model, nn.Module) and (loss is None or callable(loss)):
            return model, inputs, loss
    kinds = [type(part).__name__ for part in returned] if isinstance(returned, tuple) else []
    found = f"({', '.join(kinds)})" if kinds else type(returned).__name__
    raise InputError(
        f"the test returned {found}; it must return (model, inputs) or (model, inputs, loss), the "
        "model a torch.nn.Module and the loss a function of what the model returns"
    )


@contextmanager
def _spconv_at_hand() -> Iterator[None]:
    """Where spconv is not installed, a stub answers its imports."""
    if "spconv" in sys.modules or importlib.util.find_spec("spconv") is not None:
        yield
        return
    stubs = _stubs()
    sys.modules.update(stubs)
    try:
        yield
    finally:
        for name in stubs:
            sys.modules.pop(name, None)


def _stubs() -> dict[str, Any]:
    from bevdiag.source.stubs.spconv import spconv_modules
    from bevdiag.sparse.tensor import SparseConvTensor

    return spconv_modules(SparseConvTensor)
