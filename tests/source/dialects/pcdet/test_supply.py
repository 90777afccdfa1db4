import pytest

from bevdiag.errors import NoVerdictError
from bevdiag.trace.alternatives import TracedStep
from tests.source.dialects.pcdet.own_data import Own


def test_what_files_would_have_brought_is_said(plain: TracedStep) -> None:
    text = "\n".join(plain.findings)
    assert "gt_sampling was left out" in text
    assert "15 Diver" in text
    assert "augmentation blur was left out: pcdet/datasets/augmentor.py" in text
    assert "did not run" not in text


def test_the_scene_itself_is_the_batch_where_it_was_measured(own: Own) -> None:
    with pytest.raises(NoVerdictError, match=r"but got \[600, 4\] X \[8, 4\]"):
        own("Plain", "OPTIMIZATION.OPTIMIZER=adamW", loads=False)
