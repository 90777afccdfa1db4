"""From a message to the allocation: the report's, a small model's, and an H200's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bevdiag.errors import ExitCode, InputError
from bevdiag.explain.answer import Certainty, Explanation
from bevdiag.explain.explain import explain
from bevdiag.memory.device import make_target
from bevdiag.memory.profile import oom_message
from bevdiag.memory.simulate import simulate
from bevdiag.prediction.options import InspectOptions
from bevdiag.trace.kept_voxels import Scenario

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "tests" / "data" / "small.yaml"
CFGS = ROOT.parent / "shared" / "openpcdet" / "cfgs"
_VOXELS = "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels"
MESSAGES = ROOT / "tests" / "data" / "oom_messages_h200.json"


def _quiet(what: str, share: float) -> None:
    assert what


def _explain(text: str, config: Path | None, **options: Any) -> Explanation:
    return explain(text, config, replace(InspectOptions(device="meta"), **options), _quiet)


def test_the_reports_message_is_the_first_bev_convolutions_im2col_buffer() -> None:
    # As few voxels as keep the grid, and so the BEV map, what they are.
    found = _explain(
        "CUDA out of memory. Tried to allocate 75.10 GiB. ...",
        ROOT / "configs" / "focalsst_dsvt.yaml",
        pins={"backbone_3d.focal_encoder.kept_voxels": 2000},
        overrides=(f"{_VOXELS}.MAX_NUMBER_OF_VOXELS.train=2000",),
    )
    first = found.candidates[0]
    assert first.module == "backbone_2d.blocks.0.1"
    assert first.phase == "forward"
    assert first.what == "im2col buffer (workspace) of the forward convolution"
    assert first.arithmetic.startswith("22,400 channels x 9 x 100,000 positions x 4 B")
    assert "one sample" in first.arithmetic
    assert first.condition.startswith("cuDNN before 9.3")
    assert "2,271,449,600 elements" in first.condition
    assert first.certainty is Certainty.CERTAIN
    assert found.exit_code is ExitCode.FITS


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_simulated_failure_is_found_again(small: Any, share: float) -> None:
    stream = small.recorded().traces[Scenario.EXPECTED].stream
    unlimited = simulate(stream, make_target(torch="2.11.0"), until_oom=False)
    budget = int(share * unlimited.max_reserved_bytes)
    target = make_target(torch="2.11.0", gpu="a100-80gb", budget_bytes=budget)
    refusal = simulate(stream, target).refusal
    assert refusal is not None
    found = _explain(
        oom_message(refusal, target),
        small.config,
        points=(str(small.points),),
        pins={small.site: small.kept},
    )
    first = found.candidates[0]
    assert first.module == refusal.alloc.module
    assert first.phase == refusal.alloc.phase.value
    assert found.target is not None
    assert found.target.gpu == "a100-80gb"


def test_without_a_config_the_text_alone_is_decoded() -> None:
    found = _explain("CUDA out of memory. Tried to allocate 75.10 GiB.", None)
    assert found.candidates == ()
    assert found.decoded
    assert found.exit_code is ExitCode.FITS


def test_what_no_step_asks_for_is_no_verdict(small: Any) -> None:
    found = _explain(
        "CUDA out of memory. Tried to allocate 3.33 TiB.",
        small.config,
        points=(str(small.points),),
        pins={small.site: small.kept},
    )
    assert found.candidates == ()
    assert found.exit_code is ExitCode.NO_VERDICT


def test_a_librarys_failure_names_no_allocation(small: Any) -> None:
    found = _explain("CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(h)`", small.config)
    assert found.candidates == ()
    assert "cuBLAS" in found.notes[0]


def test_a_text_without_a_failure_is_refused() -> None:
    with pytest.raises(InputError, match="no message of a failure"):
        _explain("all is well", None)


@pytest.mark.skipif(not CFGS.is_dir(), reason="OpenPCDet's configs are not here")
def test_real_messages_of_a_gpu_are_explained() -> None:
    # The quick ones; benchmarks/explain_messages.py asks about all, and docs/explain.md shows it.
    rows = [
        row
        for row in json.loads(MESSAGES.read_text(encoding="utf-8"))
        if row["config"] == "kitti_models/pointpillar.yaml"
    ]
    assert len(rows) == 2
    for row in rows:
        found = _explain(
            row["message"],
            CFGS / row["config"],
            batch_size=row["batch_size"],
            autocast=row["autocast"],
            optimizer="adamw",
        )
        assert found.candidates[0].module == row["module"]
        assert found.candidates[0].phase == row["phase"]


def test_a_message_of_the_allocator_without_a_figure_is_about_the_step(small: Any) -> None:
    text = "CUDA error: out of memory (malloc at /x/c10/cuda/CUDACachingAllocator.cpp:9)"
    (note,) = _explain(text, small.config).notes
    assert "has no figure" in note
