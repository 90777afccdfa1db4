from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.errors import BevdiagError
from bevdiag.memory.device import make_target
from bevdiag.prediction import jobs as jobs_module
from bevdiag.prediction import target
from bevdiag.prediction.jobs import Given, make_jobs
from bevdiag.prediction.options import InspectOptions

GIB = 2**30


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    for name in ("GPU", "BUDGET", "MARGIN", "TORCH", "CUDNN"):
        monkeypatch.delenv(f"BEVDIAG_{name}", raising=False)
    monkeypatch.setattr(target, "gpu_at_hand", lambda options: options)


def _h200_at_hand(options: InspectOptions) -> InspectOptions:
    origin = "GPU 0 at hand (3 GiB free)"
    return replace(options, gpu="h200", process_bytes=3 * GIB, origin=origin)


def job_of(folder: Path, policy: str = "", *, isolated: bool = False, **given: str):
    (folder / "bevdiag.toml").write_text(policy, encoding="utf-8")
    config = folder / "model.yaml"
    base = InspectOptions(pins={"site": 7})
    (job,) = make_jobs([config], Given(**given), base, None, isolated=isolated)
    return job


def test_the_policy_speaks_where_the_command_line_is_silent(tmp_path):
    job = job_of(
        tmp_path,
        'budget = "22GiB"\ntorch = "2.4"\nautocast = "bf16"\n[assume]\nsite = 3\nother = 4\n',
        autocast="fp16",
    )
    assert job.options.process_bytes == 22 * GIB
    assert job.options.torch == "2.4"
    assert job.options.autocast == "fp16"
    assert job.options.pins == {"site": 7, "other": 4}
    assert job.budget == "22.00 GiB"


def test_a_gpu_on_the_command_line_replaces_the_policys_budget(tmp_path):
    job = job_of(tmp_path, 'budget = "22GiB"', gpu="h200")
    assert job.options.process_bytes is None
    assert job.options.gpu == "h200"


@pytest.mark.parametrize(("margin", "share", "size"), [("10%", 0.1, 0), ("5GiB", 0, 5 * GIB)])
def test_a_margin_is_taken_from_what_is_left_beside_the_context(tmp_path, margin, share, size):
    whole = make_target(torch="2.13.0", process_bytes=20 * GIB)
    job = job_of(tmp_path, budget="20GiB", margin=margin)
    left = make_target(torch="2.13.0", process_bytes=job.options.process_bytes).capacity_bytes
    assert left == whole.capacity_bytes - round(share * whole.capacity_bytes) - size
    assert margin in job.budget


def test_a_margin_of_a_gpu_is_taken_from_what_is_usable(tmp_path):
    whole = job_of(tmp_path, gpu="h200")
    spared = job_of(tmp_path, gpu="h200", margin="50%")
    assert whole.options.process_bytes is None
    assert spared.options.process_bytes < 80 * GIB


def test_isolated_takes_no_policy(tmp_path):
    job = job_of(tmp_path, 'budget = "22GiB"', isolated=True)
    assert job.options.process_bytes is None
    assert job.budget == ""


def test_the_gpu_at_hand_is_the_budget_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "gpu_at_hand", _h200_at_hand)
    job = job_of(tmp_path, margin="1GiB")
    assert (job.options.gpu, job.options.process_bytes) == ("h200", 2 * GIB)
    assert job.budget == "GPU 0 at hand (3 GiB free) less a margin of 1GiB"
    assert job_of(tmp_path, budget="9GiB").options.process_bytes == 9 * GIB


@pytest.mark.parametrize(
    ("policy", "given", "sentence"),
    [
        ('gpu = "rtx9999"', {}, "bevdiag.toml:1:1: gpu: "),
        ('torch = "new"', {}, "is no version"),
        ('margin = "110%"\nbudget = "1GiB"', {}, "is no share"),
        ('margin = "2GiB"\nbudget = "1GiB"', {}, "leaves nothing"),
        ('[ignore]\nBEV999 = "because"', {}, "there is no rule BEV999"),
        ("", {"autocast": "fp8"}, "--autocast: 'fp8' is not one of"),
        ("", {"batch_size": "0"}, "--batch-size: '0' is not a whole number"),
        ("", {"cudnn": "nine"}, "--cudnn: "),
    ],
)
def test_what_cannot_be_used_is_reported_with_its_place(tmp_path, policy, given, sentence):
    with pytest.raises(BevdiagError) as refused:
        job_of(tmp_path, policy, **given)
    assert sentence in str(refused.value)
    assert str(refused.value).count("--") <= 1


def test_a_policy_is_refused_where_none_is_taken(tmp_path):
    with pytest.raises(BevdiagError, match=r"policy no\.toml: without effect where none is taken"):
        make_jobs([tmp_path], Given(), InspectOptions(), Path("no.toml"), isolated=True)


def test_a_file_is_read_once_for_all_its_configs(tmp_path, monkeypatch):
    (tmp_path / "bevdiag.toml").write_text("", encoding="utf-8")
    reads = []
    real = jobs_module.read_policy
    monkeypatch.setattr(jobs_module, "read_policy", lambda path: reads.append(path) or real(path))
    configs = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    make_jobs(configs, Given(), InspectOptions(), None, isolated=False)
    assert reads == [tmp_path / "bevdiag.toml"]


def test_the_first_place_that_names_memory_decides_gpu_and_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(target, "gpu_at_hand", _h200_at_hand)
    monkeypatch.setenv("BEVDIAG_GPU", "a10")
    policy = 'gpu = "l4"\nbudget = "20GiB"'

    def asked(text: str = policy, **given: str) -> tuple[str | None, int | None, str]:
        options = job_of(tmp_path, text, **given).options
        return options.gpu, options.process_bytes, options.origin

    assert asked(budget="9GiB") == (None, 9 * GIB, "--budget")
    assert asked() == ("a10", None, "BEVDIAG_GPU")
    monkeypatch.delenv("BEVDIAG_GPU")
    gpu, nbytes, origin = asked()
    assert (gpu, nbytes) == ("l4", 20 * GIB)
    assert "bevdiag.toml:1:1: gpu and" in origin
    assert asked("") == ("h200", 3 * GIB, "GPU 0 at hand (3 GiB free)")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"gpu": ""}, "--gpu: GPU '' is not in the catalogue"),
        ({"budget": ""}, "--budget: '' is no size"),
        ({"margin": "10%"}, "--margin: is taken off what the step must fit"),
        ({"gpu": "a100"}, "a100-40gb or a100-80gb"),
        ({"gpu": "V100"}, "v100-16gb or v100-32gb"),
        ({"gpu": "h100"}, "h100-80gb"),
        ({"gpu": "NVIDIA"}, "'NVIDIA' is not in the catalogue"),
        ({"budget": "22"}, "has no unit: write it like 22GiB"),
    ],
)
def test_what_could_mean_several_things_is_refused(tmp_path, given, sentence):
    with pytest.raises(BevdiagError, match=sentence):
        job_of(tmp_path, **given)
