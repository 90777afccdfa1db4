import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import bevdiag
from bevdiag.errors import ConfigError, InputError
from bevdiag.report.html.report_pages import inspect_page

SMALL = Path(__file__).parent / "data" / "small.yaml"


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
    assert "Fits rtx3090" in inspect_page(found)


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
        ({"scene": "none.json"}, "none.json: cannot be read"),
        ({"point_columns": 5}, "--point-columns: says how a .bin file is read"),
    ],
)
def test_what_a_scene_cannot_be_made_of_is_one_sentence(
    given: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        bevdiag.predict(SMALL, **given)


def test_a_range_that_is_no_whole_number_of_voxels_is_rounded_and_runs() -> None:
    size = "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -4, -1, 8.03, 4, 1]"
    found = bevdiag.predict(SMALL, overrides=[size])
    assert [f.code for f in found.findings if f.code.startswith("BEV1")] == ["BEV101"]


def test_a_config_whose_step_cannot_run_is_refused_with_its_place() -> None:
    size = "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -4, -1, 8, 4, -0.97]"
    with pytest.raises(ConfigError, match="BEV101"):
        bevdiag.predict(SMALL, overrides=[size])


def test_the_package_alone_stays_light() -> None:
    code = "import sys, bevdiag; print({'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
