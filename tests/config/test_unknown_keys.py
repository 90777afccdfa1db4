import pytest

from bevdiag.config import NoteCode, load_config


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        (
            "USE_NORM: true",
            "USE_NORM: true\n    USE_NROM: false",
            "MODEL.VFE.USE_NROM",
            "nothing reads USE_NROM; did you mean 'USE_NORM'?",
        ),
        (
            "conv_out_channel: 128",
            "conv_out_channel: 128\n      use_checkpoints: true",
            "MODEL.BACKBONE_3D.DSVT.use_checkpoints",
            "nothing reads use_checkpoints; did you mean 'ues_checkpoint'?",
        ),
        (
            "center: {out_channels: 2, num_conv: 2}",
            "center: {out_channels: 2, num_conv: 2, num_convs: 3}",
            "MODEL.DENSE_HEAD.SEPARATE_HEAD_CFG.HEAD_DICT.center.num_convs",
            "nothing reads num_convs; did you mean 'num_conv'?",
        ),
        ("MOMENTUM: 0.9", "QUUX: 1", "OPTIMIZATION.QUUX", "nothing reads QUUX"),
    ],
)
def test_a_key_that_nothing_reads(altered, place, old, new, key, message):
    path = altered((old, new))
    (note,) = load_config(path).notes
    assert (note.code, note.key, note.message) == (NoteCode.UNKNOWN_KEY, key, message)
    assert note.location.file == path


def test_keys_that_only_concern_the_schedule_or_evaluation_are_no_matter(altered):
    path = altered(("MOMENTUM: 0.9", "MOMENTUM: 0.9\n  WARMUP_EPOCH: 1\n  LR_CLIP: 1.0e-7"))
    assert load_config(path, ["MODEL.POST_PROCESSING={SCORE_THRESH: 0.1}"]).notes == ()
