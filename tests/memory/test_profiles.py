"""Device profiles: written, read back, found, and preferred to rules."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bevdiag.errors import InputError
from bevdiag.files.shipped import shipped_file
from bevdiag.memory import profiles
from bevdiag.memory.catalogue import find_gpu
from bevdiag.memory.device import make_target
from bevdiag.memory.profiles import (
    BenchmarkBytes,
    DeviceProfile,
    MeasuredGpu,
    profile_name,
    profile_text,
    read_profile,
    shipped_profile,
)
from bevdiag.memory.requests import GemmWorkspace
from bevdiag.memory.workspaces import conv_workspace, workspace

MIB = 1024**2


@pytest.fixture
def calls(conv):
    plain = conv("forward", (2, 64, 188, 188), 64)
    upsampled = conv(
        "dgrad",
        (2, 64, 94, 94),
        128,
        kernel=2,
        stride=2,
        padding=0,
        transposed=True,
        weight_shape=(64, 128, 2, 2),
        output_shape=(2, 128, 188, 188),
    )
    grouped = conv("wgrad", (2, 64, 188, 188), 64, nbytes=2, groups=2, weight_shape=(64, 32, 3, 3))
    return (plain, replace(plain, direction="wgrad"), upsampled, grouped)


@pytest.fixture
def profile(calls) -> DeviceProfile:
    return DeviceProfile(
        gpu=MeasuredGpu(
            name="NVIDIA A100-SXM4-80GB",
            total_bytes=84_987_740_160,
            compute_capability=(8, 0),
            multiprocessors=108,
        ),
        torch="2.7.1+cu126",
        cudnn=(9, 5, 1),
        cuda="12.6",
        driver="560.35.05",
        context_bytes=500 * MIB,
        spconv="2.3.8",
        context_with_spconv_bytes=620 * MIB,
        cublas_workspace_bytes={"main": 8_519_680, "autograd": 7_000_000},
        workspaces={call: 1000 + number for number, call in enumerate(calls)},
        benchmarked={calls[0]: BenchmarkBytes(trial_bytes=9000, steady_bytes=30)},
    )


@pytest.fixture
def file(profile, tmp_path) -> Path:
    path = tmp_path / "profile.json"
    path.write_text(profile_text(profile), encoding="utf-8")
    return path


def test_a_profile_comes_back_as_it_was_written(profile, file):
    back = read_profile(file)
    for name in DeviceProfile.__slots__:
        assert getattr(back, name) == getattr(profile, name), name
    assert profile_text(back) == file.read_text(encoding="utf-8")


def test_each_convolution_is_one_line_of_json(profile, file):
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line.rstrip(",")) for line in lines if line.startswith('{"input"')]
    assert len(rows) == 3
    assert sum(len(row["workspace_bytes"]) for row in rows) == len(profile.workspaces)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 2}, "version: input should be 1"),
        ({"format": "something else"}, "format: input should be 'bevdiag device profile'"),
        ({"context_bytes": -1}, "context_bytes: input should be greater than or equal to 0"),
        ({"convolutions": [{"input": "x"}]}, r"convolutions\.0\.input: input should be a valid"),
        ({"surplus": 1}, "surplus: extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_no_profile_is_refused_with_the_place(file, change, said):
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change))
    with pytest.raises(InputError, match=f"profile.json: {said}.*calibrate"):
        read_profile(file)


def test_a_file_that_is_missing_or_no_json_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read: there is no such file"):
        read_profile(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(InputError, match="invalid JSON"):
        read_profile(tmp_path / "text.json")


def test_what_was_measured_goes_before_the_rule(calls, file):
    target = make_target(torch="2.13.0", profile=str(file))
    for number, call in enumerate(calls):
        reported = conv_workspace(call, target)
        assert (reported.low, reported.expected, reported.high) == (1000 + number,) * 3
        assert reported.is_optional
    other = replace(calls[0], padding=(2, 2))
    rule = replace(target, profile=None)
    assert conv_workspace(other, target) == conv_workspace(other, rule)
    assert conv_workspace(calls[0], rule).expected > MIB


def test_each_thread_gets_the_cublas_workspace_that_was_measured(file):
    target = make_target(torch="2.13.0", profile=str(file))
    assert workspace(GemmWorkspace("main"), target).expected == 8_519_680
    assert workspace(GemmWorkspace("autograd"), target).expected == 7_000_000


def test_a_named_profile_brings_its_gpu_and_versions(file):
    target = make_target(torch="2.13.0", profile=str(file))
    assert target.gpu == "a100-80gb"
    assert (target.torch, target.cudnn) == ("2.7.1", (9, 5, 1))
    assert target.capacity_bytes == 84_987_740_160 - 620 * MIB
    capped = make_target(torch="2.13.0", profile=str(file), budget_bytes=MIB)
    assert capped.capacity_bytes == MIB
    assert capped.is_capped


def test_a_gpu_that_the_catalogue_lacks_can_be_predicted_for(profile, tmp_path):
    path = tmp_path / "own.json"
    own = profile.gpu.model_copy(update={"name": "NVIDIA Nova 9000", "multiprocessors": 7})
    path.write_text(profile_text(replace(profile, gpu=own)))
    target = make_target(torch="2.13.0", profile=str(path))
    assert (target.gpu, target.multiprocessors) == ("NVIDIA Nova 9000", 7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gpu": "h200"}, "was measured on NVIDIA A100-SXM4-80GB, not on h200"),
        ({"cudnn": "9.1"}, r"was measured with cuDNN 9\.5\.1, not 9\.1: leave out --cudnn"),
    ],
)
def test_a_profile_of_another_machine_is_refused(file, options, said):
    with pytest.raises(InputError, match=said):
        make_target(torch="2.13.0", profile=str(file), **options)
    same = {"gpu": "a100-80gb", "cudnn": "9.5.1"}
    assert make_target(torch="2.13.0", profile=str(file), **same).profile is not None


def test_the_shipped_profile_is_found_by_gpu_torch_and_cudnn(monkeypatch, profile, tmp_path):
    path = tmp_path / profile_name("a100-80gb", "2.7.0", (9, 5, 1))
    assert path.name == "a100-80gb-torch2.7-cudnn9.5.1.json"
    path.write_text(profile_text(profile))
    monkeypatch.setattr(
        profiles,
        "shipped_file",
        lambda name: path if name == f"configs/devices/{path.name}" else None,
    )
    shipped_profile.cache_clear()
    found = make_target(torch="2.7.0", gpu="a100-80gb", cudnn="9.5.1")
    assert found.profile is not None
    assert found.context_bytes == 620 * MIB
    for other in (
        {"torch": "2.8.0", "cudnn": "9.5.1"},
        {"torch": "2.7.0", "cudnn": "9.6"},
        {"torch": "2.7.0", "cudnn": "9.5.1", "profile": "none"},
    ):
        assert make_target(gpu="a100-80gb", **other).profile is None
    assert found.on(find_gpu("rtx4090")).profile is None
    assert found.on(find_gpu("rtx4090")).on(find_gpu("a100-80gb")).profile is not None
    unmeasured = make_target(torch="2.7.0", gpu="a100-80gb", cudnn="9.5.1", profile="none")
    assert unmeasured.on(find_gpu("a100-80gb")).profile is None
    shipped_profile.cache_clear()


def test_the_h200s_profile_is_shipped_under_its_name():
    target = make_target(torch="2.11.0", gpu="h200", cudnn="9.19")
    shipped = target.profile
    assert shipped is not None
    assert shipped.gpu.name == "NVIDIA H200"
    path = shipped_file(f"configs/devices/{profile_name('h200', shipped.torch, shipped.cudnn)}")
    assert path is not None
    assert profile_text(read_profile(path)) == path.read_text(encoding="utf-8")
    assert make_target(torch="2.13.0", gpu="h200").profile is None


@pytest.mark.parametrize(
    ("torch", "cudnn", "measured"),
    [
        ("2.5.1", "9.1.0", "2.5.1+cu124"),
        ("2.4.0", None, "2.5.1+cu124"),  # its own cuDNN is the same
        ("2.6.0", "9.1", "2.5.1+cu124"),
        ("2.1.2", "8.9.2", "2.1.2+cu121"),
        ("2.2.0", None, "2.1.2+cu121"),
        ("2.7.0", None, None),
    ],
)
def test_a_profile_of_the_same_cudnn_answers_for_another_torch(torch, cudnn, measured):
    found = make_target(torch=torch, gpu="h200", cudnn=cudnn).profile
    assert (found.torch if found is not None else None) == measured


def test_a_call_that_crashed_is_kept_with_the_profile(profile):
    deadly = next(iter(profile.workspaces))
    others = {call: n for call, n in profile.workspaces.items() if call != deadly}
    crashed = replace(profile, workspaces=others, crashed=frozenset({deadly}))
    text = profile_text(crashed)
    assert f'"crashed": ["{deadly.direction}"]' in text
    path = profiles.ProfileFile.model_validate_json(text)
    assert any(row.crashed for row in path.convolutions)
