"""What families with configs of Python code share."""

from bevdiag.source.dialects.python_configs import without_weights
from bevdiag.source.state import noted


def test_weights_that_a_model_would_load_are_taken_out_and_noted() -> None:
    model = {
        "pretrained": None,
        "backbone": {"init_cfg": {"type": "Pretrained", "checkpoint": "swin.pth"}},
        "necks": [{"init_cfg": {"type": "Xavier"}}, {"pretrained": "neck.pth"}],
    }
    assert without_weights(model) == {
        "pretrained": None,
        "backbone": {"init_cfg": None},
        "necks": [{"init_cfg": {"type": "Xavier"}}, {"pretrained": None}],
    }
    for name in ("swin.pth", "neck.pth"):
        assert any(f"weights ({name}) were not loaded" in sentence for sentence in noted())
