from dataclasses import replace

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.layer_tree import shown_layers, write_layers

from .conftest import written


def test_names_are_reported_below_their_parent(over: Prediction) -> None:
    shown = [(level, label) for _, level, label in shown_layers(over, 9)]
    assert (2, "stage_0.0.encoder_list.0") in shown
    assert (1, "focal_encoder") in shown


def test_depth_counts_levels(over: Prediction) -> None:
    calm = replace(over, oom=None, peak=replace(over.peak, module=""))
    assert {layer.depth for layer, _, _ in shown_layers(calm, 2)} == {0, 1}


def test_where_it_stops_is_shown_at_any_depth(over: Prediction) -> None:
    names = [layer.name for layer, _, _ in shown_layers(over, 1)]
    assert "backbone_2d.blocks.0.1" in names
    assert "backbone_3d.dsvt" not in names


def test_a_wide_screen_gives_a_layer_one_line(over: Prediction) -> None:
    lines = written(write_layers, over, 1, layout=Layout(200))
    row = next(line for line in lines if line.startswith("  map_to_bev"))
    assert "HeightCompression" in row
    assert "1x22400x202x502" in row


def test_a_narrow_screen_loses_no_figure(over: Prediction) -> None:
    lines = written(write_layers, over, 1, layout=Layout(80))
    row = next(i for i, line in enumerate(lines) if line.startswith("  map_to_bev"))
    assert "8.46 GiB" in lines[row]
    assert lines[row + 1].strip() == "HeightCompression  128 -> 22400  1x22400x202x502"


def test_lists_of_modules_give_way_to_their_members(over: Prediction) -> None:
    layers = tuple(
        replace(layer, type="ModuleList") if layer.name == "backbone_3d.dsvt" else layer
        for layer in over.layers
    )
    listed = replace(over, layers=layers)
    names = [(level, label) for _, level, label in shown_layers(listed, 9)]
    assert (1, "dsvt.stage_0.0.encoder_list.0") in names
    assert not any(label == "dsvt" for _, label in names)
    assert any(label == "dsvt" for _, _, label in shown_layers(listed, 2))


def test_hidden_layers_are_counted(over: Prediction) -> None:
    text = "\n".join(written(write_layers, over, 3, layout=Layout(200)))
    assert "Deeper layers not shown: 1" in text


def test_no_layers_no_section(over: Prediction) -> None:
    assert written(write_layers, replace(over, layers=()), 3) == []
