from bevdiag.report.html.timeline_data import MOST_MODULES, bands_of, timeline_data

from .conftest import block


def test_the_columns_add_up_to_the_timeline(drawn):
    data = timeline_data(drawn.blocks, drawn.timeline, 10**9)
    for event, point in enumerate(drawn.timeline):
        alive = sum(
            nbytes
            for start, span, nbytes in zip(data["start"], data["span"], data["bytes"], strict=True)
            if start <= event < start + span
        )
        assert alive == point.allocated_bytes
    assert data["events"] == len(drawn.timeline)
    assert data["peak"] == 12
    assert data["capacity"] == 10**9


def test_runs_tell_where_a_value_changes(drawn):
    data = timeline_data(drawn.blocks, drawn.timeline, None)
    assert data["phases"] == [[0, "forward"], [30, "backward"]]
    assert data["reserved"] == [[0, 600 * 2**20]]


def test_a_name_is_reported_once(drawn):
    data = timeline_data((*drawn.blocks, drawn.blocks[-1]), drawn.timeline, None)
    assert data["what"][-1] == data["what"][-2]
    assert data["names"][data["what"][-1]][0] == "dense_head"


def test_state_lies_below_the_modules_in_the_order_of_their_first_block(blocks):
    bands = bands_of(blocks)
    assert bands.names == (
        "weights",
        "vfe.pfn",
        "backbone_2d.blocks.0",
        "backbone_2d.blocks.1",
        "dense_head",
    )
    assert bands.num_state == 1
    assert bands.of_block == (0, 1, 2, 3, 3, 4)


def test_a_module_with_more_parts_than_there_are_colours_stays_whole():
    blocks = [block(n, n + 5, 1, f"backbone.layers.{n}") for n in range(2 * MOST_MODULES)]
    blocks.append(block(0, 9, 1, "head.a"))
    bands = bands_of(blocks)
    assert bands.names == ("backbone.layers", "head.a")


def test_what_belongs_to_no_module_says_so():
    assert bands_of([block(0, 3, 1, "")]).names == ("outside the modules",)


def test_gradients_have_a_band_whatever_module_made_them():
    blocks = [block(0, 3, 1, "a"), block(0, 3, 1, "a", "gradient")]
    assert bands_of(blocks).names == ("gradients", "a")
    assert bands_of(blocks).of_block == (1, 0)


def test_no_blocks_no_bands():
    assert bands_of(()).names == ()
