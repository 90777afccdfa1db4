import warnings

import pytest

from bevdiag.errors import NoVerdictError
from bevdiag.source.stubs import inert
from bevdiag.source.stubs.inert import InertModule
from bevdiag.source.stubs.small_packages import modules_of


def test_decorators_and_assignments_of_absent_packages() -> None:
    numba = modules_of("numba")["numba"]

    def half(value: int) -> int:
        return value // 2

    assert numba.jit(half)(4) == 2
    assert numba.jit(nopython=True)(half)(4) == 2
    rows, columns = modules_of("scipy")["scipy.optimize"].linear_sum_assignment([[0.0] * 3] * 2)
    assert rows.tolist() == columns.tolist() == [0, 1]


def test_inert_names_can_be_imported_and_subclassed_but_not_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inert, "_armed", [])
    package = InertModule("cv2")

    class Sub(package.Base):  # type: ignore[misc]
        pass

    assert Sub().__class__ is Sub
    assert package.decorate(half := (lambda: 1)) is half
    inert.arm()
    with pytest.raises(NoVerdictError, match=r"cv2\.io\.read is called.*install the package"):
        package.io.read("file")
    with pytest.raises(NoVerdictError, match=r"flash_attn\.attend is called.*installed or not"):
        InertModule("flash_attn").attend()


def test_a_class_of_what_is_not_installed_cannot_be_built_with_arguments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Sub(InertModule("transformers").PreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: object) -> None:
            super().__init__(config)

    monkeypatch.setattr(inert, "_armed", [True])
    with pytest.raises(NoVerdictError, match=r"transformers\.PreTrainedModel is called.*install"):
        Sub({})


def test_warnings_of_absent_packages_can_be_filtered_and_nothing_is_of_their_classes() -> None:
    absent = InertModule("numba_of_a_kind")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore", category=absent.DeprecationWarning)
        warnings.warn("as any other", UserWarning, stacklevel=1)
    assert [str(one.message) for one in said] == ["as any other"]
    assert not isinstance(3, absent.Hull)
    assert not isinstance(3, (absent.Hull, str))
    assert not issubclass(int, absent.Hull)
