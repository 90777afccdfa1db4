"""What is known about torch's CUDA, from whatever tells it."""

from pathlib import Path

import pytest

from bevdiag.environment.environment import Environment, installed_environment, listed_environment
from bevdiag.environment.probes import ImportProbe


@pytest.mark.parametrize(
    ("lines", "cuda"),
    [
        ("torch==2.4.1+cu118", (11, 8)),
        ("torch==2.6.0", (12, 4)),
        ("torch==2.6.0\nnvidia-cuda-runtime-cu12==12.1.105", (12, 1)),
        ("torch==2.6.0+cpu", None),
        ("pytorch=2.1.0=py3.10_cuda11.8_cudnn8.7.0_0", (11, 8)),
        ("pytorch=2.1.0\npytorch-cuda=12.1", (12, 1)),
        ("torch>=2", None),
        ("numpy==1.26.4", None),
    ],
)
def test_a_list_tells_torchs_cuda(tmp_path: Path, lines: str, cuda: tuple[int, int] | None) -> None:
    path = tmp_path / "list.txt"
    path.write_text(lines + "\n", encoding="utf-8")
    environment = listed_environment(path)
    assert environment.torch_cuda() == cuda
    assert not environment.is_installed


def test_the_environment_at_hand_is_read_and_imported_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []

    def probe(stages: list[str]) -> tuple[ImportProbe, ...]:
        asked.append(stages)
        return (ImportProbe(stage="torch", facts={"cuda": "12.6"}),)

    monkeypatch.setattr("bevdiag.environment.environment.probe_imports", probe)
    environment: Environment = installed_environment(lambda what, share: None)
    assert environment.torch is not None
    assert environment.torch.version is not None
    assert environment.torch_cuda() == (12, 6)
    assert asked[0][0] == "torch"
