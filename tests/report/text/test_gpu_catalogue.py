from dataclasses import replace

from bevdiag.prediction.result import Prediction
from bevdiag.report.printable import Layout
from bevdiag.report.text.gpu_catalogue import write_gpus

from .conftest import written


def test_columns_are_read_downward(over: Prediction) -> None:
    lines = written(write_gpus, over, layout=Layout(80))
    assert lines[2].split()[:3] == ["T4", "14.56", "GiB"]
    assert "A100-80GB" in lines[2]
    assert lines[3].lstrip().startswith("RTX 3090")


def test_every_gpu_has_its_verdict(over: Prediction) -> None:
    text = "\n".join(written(write_gpus, over, layout=Layout(60)))
    assert text.count("does not fit") == 5
    assert "H200       139.80 GiB  depends" in text
    assert "B200       178.40 GiB  fits" in text


def test_no_catalogue_no_section(over: Prediction) -> None:
    assert written(write_gpus, replace(over, gpus=())) == []
