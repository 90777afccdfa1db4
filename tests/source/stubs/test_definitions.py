from pathlib import Path

import pytest

from bevdiag.source.stubs.definitions import Extensions

REPOSITORY = Path(__file__).parents[1] / "own_data"
OPS = REPOSITORY / "pcdet" / "ops" / "twist"


@pytest.fixture
def extensions() -> Extensions:
    return Extensions(REPOSITORY)


def test_a_module_is_known_by_its_setup(extensions: Extensions) -> None:
    assert extensions.folder_of("TWIST_OP", [OPS]) == OPS
    assert extensions.folder_of("twist", [OPS]) is None


def test_what_its_functions_return(extensions: Extensions) -> None:
    functions = extensions.functions(OPS)
    assert functions["twist_wrapper"].returns_tensors is False
    assert functions["untwist"].returns_tensors is True
    assert functions["untwist"].place == "pcdet/ops/twist/src/twist.cpp:7"


def test_a_library_of_torch_is_found(tmp_path: Path) -> None:
    (tmp_path / "op.cu").write_text("TORCH_LIBRARY(ours, m) {}\nPYBIND11_MODULE(plain_name, m) {}")
    extensions = Extensions(tmp_path)
    assert extensions.libraries() == {"ours": tmp_path}
    assert extensions.folder_of("plain_name", []) == tmp_path
