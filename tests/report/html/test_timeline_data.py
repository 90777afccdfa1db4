from bevdiag.report.html.timeline_data import timeline_data


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


def test_a_name_is_told_once(drawn):
    data = timeline_data((*drawn.blocks, drawn.blocks[-1]), drawn.timeline, None)
    assert data["what"][-1] == data["what"][-2]
    assert data["names"][data["what"][-1]][0] == "dense_head"
