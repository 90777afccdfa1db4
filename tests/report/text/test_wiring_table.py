from dataclasses import replace

import pytest

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.wiring_table import write_wiring
from bevdiag.trace.wiring import Wiring

from .conftest import written


def _text(report: Prediction, *, width: int = 120, verbose: bool = False) -> str:
    layout = Layout(width)
    return "\n".join(written(write_wiring, report, layout=layout, verbose=verbose))


@pytest.fixture
def sound(over: Prediction) -> Prediction:
    assert over.wiring is not None
    entries = tuple(replace(entry, declared=entry.channels) for entry in over.wiring.entries)
    wiring = replace(over.wiring, entries=entries, bev_map=entries[-1], dead_branches=())
    return replace(over, wiring=wiring)


def test_the_map_is_reported_with_what_it_is_made_of(over: Prediction) -> None:
    assert (
        "map_to_bev makes the BEV map of 22,400 channels of encoded_spconv_tensor, which"
        in _text(over, width=200)
    )


def test_what_the_loss_does_not_reach_is_reported_with_the_reason(over: Prediction) -> None:
    text = _text(over, width=200)
    assert "backbone_3d.dsvt" in text
    assert "nothing reads voxel_features after it" in text
    assert "1,201,152 of 32,166,154 parameters get no gradient." in text


def test_a_writer_of_other_channels_than_it_declares_is_reported(over: Prediction) -> None:
    assert "map_to_bev declares 256 channels and delivers 22400 as spatial_features." in _text(over)


def test_sound_wiring_is_reported_on_demand_alone(sound: Prediction) -> None:
    assert _text(sound).strip() == ""
    text = _text(sound, verbose=True)
    assert "the loader" in text
    assert "backbone_3d, map_to_bev" in text
    assert "get no gradient" not in text


def test_without_a_record_there_is_no_section(over: Prediction) -> None:
    assert _text(replace(over, wiring=None), verbose=True).strip() == ""


def test_a_model_without_a_map_has_its_entries(sound: Prediction) -> None:
    wiring = Wiring(entries=(), bev_map=None, bev_sources=(), dead_branches=())
    assert "BEV map" not in _text(replace(sound, wiring=wiring), verbose=True)
