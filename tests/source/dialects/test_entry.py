"""Functions of the user's own: model, batch, loss and optimizer, and what they may not be."""

from pathlib import Path
from typing import Any

import pytest

from bevdiag.errors import InputError, NoVerdictError
from bevdiag.memory.events import Category
from bevdiag.prediction.entry import EntrySource
from bevdiag.prediction.inspect import inspect
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.result import Prediction

PAGE = Path(__file__).parents[3] / "docs" / "source.md"
HEAD = "import torch\nfrom torch import nn\n\n"
LAYER = "    model = nn.Linear(3, 1000)\n    batch = [torch.rand(5, 3)]\n"
LOSS = "    def loss(model, batch):\n        return model(batch[0]).mean()\n"
PLAIN = 4 * 3 * 1000 + 4 * 1000


def _file(folder: Path, body: str, arguments: str = "") -> Path:
    (folder / "step.py").write_text(f"{HEAD}def make({arguments}):\n{body}")
    return folder / "step.py"


def _entry(file: Path, config: Path | None = None, **options: Any) -> EntrySource:
    return EntrySource.read(config or file, InspectOptions(entry=f"{file}:make", **options))


def _bytes(entry: EntrySource, category: Category) -> int:
    (trace,) = entry.record().traces.values()
    allocated = [e for e in trace.stream.allocs() if e.category is category]
    return sum(event.nbytes for event in allocated)


def test_the_example_of_the_page_gives_a_number(tmp_path: Path) -> None:
    file = tmp_path / "step.py"
    file.write_text(PAGE.read_text(encoding="utf-8").split("```python\n")[2].split("```")[0])
    entry = f"{file}:make"
    found = inspect(file, InspectOptions(entry=entry, gpu="rtx4090"), lambda *_: None)
    assert isinstance(found, Prediction)
    convolutions = [64 * 9 * width + width + width * 9 * 10 + 10 for width in (32, 128)]
    assert found.params.modules == {"student": convolutions[0], "teacher": convolutions[1]}
    assert (found.config, found.verdict.value) == (entry, "fits")
    used = found.peak.by_category
    assert used["optimizer state"] == pytest.approx(4 * convolutions[0], abs=4 * 512)
    assert used["input"] == pytest.approx(4 * 2 * 64 * (200 * 200 + 100 * 100), abs=2**20)


def test_the_step_takes_adamw_or_what_is_named(tmp_path: Path) -> None:
    file = _file(tmp_path, LAYER + LOSS + "    return model, batch, loss\n")
    assert _bytes(_entry(file), Category.OPTIMIZER_STATE) >= 2 * PLAIN
    assert _bytes(_entry(file, optimizer="sgd"), Category.OPTIMIZER_STATE) < 2 * PLAIN


def test_the_functions_own_optimizer_is_taken_until_another_is_named(tmp_path: Path) -> None:
    sgd = "    return model, batch, loss, torch.optim.SGD(model.parameters(), lr=0.1)\n"
    file = _file(tmp_path, LAYER + LOSS + sgd)
    assert _bytes(_entry(file), Category.OPTIMIZER_STATE) == 0
    assert _bytes(_entry(file, optimizer="adam"), Category.OPTIMIZER_STATE) >= 2 * PLAIN


def test_what_is_on_the_gpu_already_counts_once(tmp_path: Path) -> None:
    there = LAYER + LOSS + "    return model, batch, loss\n"
    cuda = there.replace("1000)", "1000).cuda()").replace("(5, 3)", "(5, 3, device='cuda')")
    parameters = []
    for body in (there, cuda):
        entry = _entry(_file(tmp_path, body))
        parameters.append(_bytes(entry, Category.PARAMETER) + _bytes(entry, Category.INPUT))
    assert parameters[0] == parameters[1]


def test_relative_paths_hold_in_a_repository_whose_scripts_lie_in_tools(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "model.txt").write_text("7")
    layer = LAYER.replace("1000", "int(open(config).read())")
    _file(tmp_path, layer + LOSS + "    return model, batch, loss\n", "config")
    monkeypatch.chdir(tmp_path)
    assert _entry(Path("step.py"), Path("model.txt"), source=Path()).record().traces


def test_the_function_gets_the_config_that_it_asks_for(tmp_path: Path) -> None:
    config = tmp_path / "model.txt"
    config.write_text("7")
    layer = LAYER.replace("1000", "int(open(config).read())")
    body = f"{layer}{LOSS}    return model, batch, loss\n"
    file = _file(tmp_path, body, "config")
    assert _entry(file, config).record().traces
    with pytest.raises(InputError, match="asks for the path of a config: give CONFIG"):
        _entry(file)
    (tmp_path / "other").mkdir()
    other = _file(tmp_path / "other", body)
    with pytest.raises(InputError, match=r"has no effect, as .* takes no argument"):
        _entry(other, config)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("model, batch", "its function returns 2 values: return model, batch, loss"),
        ("model", "its function returns a Linear"),
        ("[model], batch, loss", "its model is a list, not an nn.Module"),
        ("model, batch, model(batch[0]).mean()", "its loss is a Tensor: return a function"),
        ("model, batch, loss, 'sgd'", "its optimizer is a str"),
    ],
)
def test_what_is_returned_instead_is_said(returned: str, said: str, tmp_path: Path) -> None:
    file = _file(tmp_path, LAYER + LOSS + f"    return {returned}\n")
    with pytest.raises(InputError, match=said):
        _entry(file).record()


def test_what_fails_is_said_with_its_place(tmp_path: Path) -> None:
    file = _file(tmp_path, "    raise ValueError('no sonar today')\n")
    with pytest.raises(NoVerdictError, match=r"step.py:5: ValueError: no sonar today"):
        _entry(file).record()


def test_what_the_function_writes_is_diverted(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    body = f"    open({str(witness)!r}, 'w').write('x')\n" + LAYER + LOSS
    recorded = _entry(_file(tmp_path, body + "    return model, batch, loss\n")).record()
    assert not witness.exists()
    assert any("step.py:5" in note for note in recorded.notes)


def test_a_batch_beyond_the_hosts_memory_names_what_helps(tmp_path: Path) -> None:
    body = "    raise MemoryError\n"
    with pytest.raises(NoVerdictError, match=r"ran out of the host's memory.*fewer samples"):
        _entry(_file(tmp_path, body), rehearses=False).record()
