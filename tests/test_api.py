import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bevdiag
from bevdiag.errors import ConfigError, InputError
from bevdiag.report.html.report_pages import inspect_page

SMALL = Path(__file__).parent / "data" / "small.yaml"
REPOSITORY = Path(__file__).parent / "source" / "own_data"
STEP = """\
from torch import nn
import torch


def make(config="conv"):
    model = nn.Conv2d(4, 8 if config == "conv" else 16, 3)
    return model, torch.zeros(2, 4, 64, 64), lambda model, batch: model(batch).sum()
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BEVDIAG_GPU", "BEVDIAG_BUDGET"):
        monkeypatch.delenv(name, raising=False)


def _model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 1, 1))


def test_a_module_is_predicted_and_stays_as_it_is() -> None:
    model = _model()
    before = model[0].weight.clone()
    found = bevdiag.predict(model, torch.zeros(2, 4, 64, 64), gpu="rtx3090")
    assert found.fits
    assert found.peak.allocated_bytes > 2 * 8 * 62 * 62 * 4
    assert [layer.name for layer in found.layers] == ["0", "1", "2"]
    assert torch.equal(model[0].weight, before)
    assert model[0].weight.grad is None


def test_a_budget_is_what_the_process_may_take_in_all() -> None:
    inputs = torch.zeros(2, 4, 64, 64)
    assert not bevdiag.predict(_model(), inputs, budget="500MiB").fits
    assert bevdiag.predict(_model(), inputs, budget="900MiB").fits


def test_the_environment_speaks_where_no_argument_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEVDIAG_GPU", "a10")
    assert bevdiag.predict(_model(), torch.zeros(1, 4, 8, 8)).target.gpu == "a10"


def test_the_projects_policy_speaks_where_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "bevdiag.toml"
    policy.write_text('gpu = "a10"\nautocast = "bf16"\n')
    inputs = torch.zeros(1, 4, 8, 8)
    monkeypatch.chdir(tmp_path)
    found = bevdiag.predict(_model(), inputs)
    assert (found.target.gpu, found.autocast) == ("a10", "bf16")
    assert "bevdiag.toml" in found.target.origin
    assert bevdiag.predict(_model(), inputs, gpu="t4").target.gpu == "t4"
    assert bevdiag.predict(_model(), inputs, isolated=True).autocast == "off"
    monkeypatch.chdir("/")
    config = tmp_path / "small.yaml"
    config.write_bytes(SMALL.read_bytes())
    assert bevdiag.predict(config, policy=policy).target.gpu == "a10"


def test_a_config_is_predicted_as_inspect_does() -> None:
    found = bevdiag.predict(SMALL, gpu="rtx3090", overrides=["OPTIMIZATION.OPTIMIZER=sgd"])
    document = json.loads(found.to_json())
    assert document["optimizer"] == "sgd"
    assert document["peak"]["allocated_bytes"] == found.peak.allocated_bytes
    assert document["target"]["gpu"] == "rtx3090"


def test_a_notebook_shows_the_page_without_a_way_out_of_its_frame() -> None:
    found = bevdiag.predict(_model(), torch.zeros(1, 4, 8, 8), gpu="rtx3090")
    shown = found._repr_html_()
    assert shown.startswith("<iframe")
    assert shown.count('"') == 4
    assert "Fits rtx3090" in shown
    assert "Allocated at the peak" in shown
    assert all(f"{part}-title" not in shown for part in ("peak", "layers", "assumed"))
    assert "layers-title" in inspect_page(found)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"points": ["a.npy"]}, "points: without effect on a module"),
        ({"gpu": "a100"}, "a100-40gb or a100-80gb"),
        ({"budget": "22"}, "has no unit"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        bevdiag.predict(_model(), torch.zeros(1, 4, 8, 8), **given)
    with pytest.raises(InputError, match="loss: without effect on a config"):
        bevdiag.predict(SMALL, loss=torch.sum)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"point_dtype": "int8", "points": ["a.bin"]}, "point_dtype='int8': take one of float16"),
        ({"point_columns": 2, "points": ["a.bin"]}, "point_columns=2: a number from 3"),
        ({"scene": "a.json", "points": ["a.bin"]}, "scene: without effect on the scene of point"),
        ({"scene": "none.json"}, "none.json cannot be read"),
        ({"point_columns": 5}, "--point-columns: says how a .bin file is read"),
    ],
)
def test_what_a_scene_cannot_be_made_of_is_one_sentence(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        bevdiag.predict(SMALL, **given)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"model_or_config": nn.ReLU}, "model_or_config: expected a torch.nn.Module or the file"),
        ({"gpu": 3090}, "gpu: expected a text, not int"),
        ({"gpu": ""}, "gpu: GPU '' is not in the catalogue"),
        ({"budget": 1.5}, 'budget: expected a size such as "22GiB", or bytes, not float'),
        ({"autocast": True}, "autocast: expected a text, not bool"),
        ({"batch_size": "2"}, "batch_size: expected a whole number, not str"),
        ({"policy": 1}, "policy: expected a path, not int"),
        ({"policy": "none.toml", "isolated": True}, "policy none.toml: without effect where none"),
        ({"points": "a.npy"}, "points: expected a list, not str"),
        ({"points": [torch.zeros(3, 4)]}, "points: expected texts or paths, not Tensor"),
        ({"overrides": "A=1"}, "overrides: expected a list, not str"),
        ({"model_or_config": nn.Linear(1, 1)}, "a module needs inputs"),
        ({"model_or_config": nn.Linear(1, 1), "inputs": (), "loss": "l1"}, "the loss is a str"),
    ],
)
def test_what_is_of_no_use_as_an_argument_is_one_sentence(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        bevdiag.predict(**{"model_or_config": SMALL, **given})


def test_a_range_that_is_no_whole_number_of_voxels_is_rounded_and_runs() -> None:
    size = "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -4, -1, 8.03, 4, 1]"
    found = bevdiag.predict(SMALL, overrides=[size])
    assert [f.code for f in found.findings if f.code.startswith("BEV1")] == ["BEV101"]


def test_a_config_whose_step_cannot_run_is_refused_with_its_place() -> None:
    size = "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -4, -1, 8, 4, -0.97]"
    with pytest.raises(ConfigError, match="BEV101"):
        bevdiag.predict(SMALL, overrides=[size])


def _batch() -> dict[str, object]:
    points = np.random.default_rng(0).uniform(0, 20, (140, 9))
    points[:, 0] = np.repeat([0, 1], 70)
    return {"points": points, "gt_boxes": np.ones((2, 3, 8)), "batch_size": 2}


def test_a_batch_is_taken_from_memory_as_from_a_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", **_batch())
    config, twisting = REPOSITORY / "tools" / "cfgs" / "own.yaml", ["MODEL.NAME=Twisting"]
    found = [
        bevdiag.predict(config, source=REPOSITORY, batch=batch, overrides=twisting)
        for batch in (_batch(), tmp_path / "batch.npz")
    ]
    assert {(one.scene.num_points, one.peak.allocated_bytes) for one in found} == {
        (140, found[0].peak.allocated_bytes)
    }
    assert "batch.npz" in found[1].scene.source


def test_an_entry_is_predicted_with_and_without_a_config(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(STEP)
    entry = f"{tmp_path}/step.py:make"
    narrow, wide = bevdiag.predict(entry=entry), bevdiag.predict(SMALL, entry=entry)
    assert (narrow.params.total, wide.params.total) == (4 * 8 * 9 + 8, 4 * 16 * 9 + 16)
    assert narrow.config.endswith("step.py:make")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "name a module or a config, or a function with entry="),
        ({"entry": "step.py:make", "batch_size": 2}, "batch_size: without effect on what entry"),
        ({"entry": "step.py"}, "'step.py' names no function: write it as FILE.py:function"),
        ({"model_or_config": SMALL, "batch": {}}, "batch: without effect on a config without so"),
        (
            {"model_or_config": SMALL, "source": REPOSITORY, "batch": {}, "scene": "a.json"},
            "scene: without effect on a batch of your own",
        ),
        (
            {"model_or_config": SMALL, "source": REPOSITORY, "batch": {"points": 1}},
            "batch: has no 'batch_size', the number of its samples; it has points",
        ),
    ],
)
def test_a_batch_or_an_entry_that_cannot_be_used_is_one_sentence(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        bevdiag.predict(**given)


def test_the_package_alone_stays_light() -> None:
    code = "import sys, bevdiag; print({'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
