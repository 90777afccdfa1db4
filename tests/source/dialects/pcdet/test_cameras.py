from tests.source.dialects.pcdet.own_data import Own, _inputs


def test_cameras_see_the_scene(own: Own) -> None:
    trace = own("Cameras")
    assert len(_inputs(trace)["batch['camera_imgs']"]) == 5
    assert any("'camera_imgs' is synthetic" in finding for finding in trace.findings)
