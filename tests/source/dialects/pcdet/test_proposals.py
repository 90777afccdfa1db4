from tests.source.dialects.pcdet.own_data import Own, _inputs


def test_a_refiner_gets_the_boxes_that_another_run_would_have_kept(own: Own) -> None:
    trace = own("Refining", "DATA_CONFIG.SEQUENCE_CONFIG={SAMPLE_OFFSET: [-2, 0]}")
    assert _inputs(trace)["batch['roi_boxes']"] == (2, 3, 4 * 4, 9)
    assert any("'roi_boxes' is synthetic" in finding for finding in trace.findings)
