import pytest

from bevdiag.config import NoteCode, load_config
from bevdiag.config.modules import DETECTOR, PUBLISHED, built_names, check_modules
from bevdiag.errors import ConfigError, NoVerdictError

GOOD = """
MODEL:
  NAME: CenterPoint
  VFE: {NAME: SDAVFE}
  BACKBONE_3D: {NAME: FocalDSVT}
"""


def test_modules_that_are_built_pass(parse):
    check_modules(parse(GOOD))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "FocalDSVT",
            "FocalDSTV",
            "c.yaml:5:23: MODEL.BACKBONE_3D.NAME: unknown module 'FocalDSTV'; did you mean "
            "'FocalDSVT'? bevdiag builds: ",
        ),
        (
            "SDAVFE",
            "Sdavfe",
            "c.yaml:4:15: MODEL.VFE.NAME: unknown module 'Sdavfe'; did you mean 'SDAVFE'? "
            "bevdiag builds: ",
        ),
        (
            "NAME: SDAVFE",
            "SIZE: 3",
            "c.yaml:4:8: MODEL.VFE.NAME: is missing: it says which module to build",
        ),
        ("SDAVFE", "[a]", "c.yaml:4:15: MODEL.VFE.NAME: expected the name of a module, found a"),
        ("{NAME: SDAVFE}", "3", "c.yaml:4:8: MODEL.VFE.NAME: is missing"),
    ],
)
def test_names_that_no_code_base_has(parse, old, new, message):
    assert GOOD.count(old) == 1
    with pytest.raises(ConfigError) as raised:
        check_modules(parse(GOOD.replace(old, new)))
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: 1", "c.yaml:1:1: MODEL: is missing"),
        ("MODEL: 3", "c.yaml:1:8: MODEL: expected a section, found 3"),
    ],
)
def test_no_model_at_all(parse, text, message):
    with pytest.raises(ConfigError) as raised:
        check_modules(parse(text))
    assert str(raised.value) == message


def test_modules_that_only_openpcdet_has_leave_no_verdict(parse):
    text = GOOD.replace("SDAVFE", "ImageVFE").replace("FocalDSVT", "UNetV2")
    with pytest.raises(NoVerdictError) as raised:
        check_modules(parse(text))
    assert str(raised.value) == (
        "c.yaml:4:15: ImageVFE (MODEL.VFE.NAME), UNetV2 (MODEL.BACKBONE_3D.NAME) "
        "are OpenPCDet modules that bevdiag does not model"
    )


def test_a_typo_is_reported_before_what_is_not_modelled(parse):
    text = GOOD.replace("SDAVFE", "ImageVFE").replace("FocalDSVT", "FocalDSTV")
    with pytest.raises(ConfigError, match="FocalDSTV"):
        check_modules(parse(text))


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ("USE_MULTIHEAD: true", "USE_MULTIHEAD"),
        ("TARGET_ASSIGNER_CONFIG: {NAME: ATSS}", "TARGET_ASSIGNER_CONFIG.NAME"),
        ("TARGET_ASSIGNER_CONFIG: {POS_FRACTION: 0.5}", "TARGET_ASSIGNER_CONFIG.POS_FRACTION"),
        ("TARGET_ASSIGNER_CONFIG: {MATCH_HEIGHT: true}", "TARGET_ASSIGNER_CONFIG.MATCH_HEIGHT"),
        ("LOSS_CONFIG: {REG_LOSS_TYPE: WeightedL1Loss}", "LOSS_CONFIG.REG_LOSS_TYPE"),
    ],
)
def test_values_that_are_not_modelled_leave_no_verdict(parse, head, key):
    text = GOOD + f"  DENSE_HEAD:\n    NAME: AnchorHeadSingle\n    {head}\n"
    with pytest.raises(NoVerdictError, match=f"MODEL.DENSE_HEAD.{key}: bevdiag does not model"):
        check_modules(parse(text))


@pytest.mark.parametrize("targets", ["{POS_FRACTION: -1.0}", "{MATCH_HEIGHT: false}"])
def test_a_value_that_switches_nothing_on_is_no_obstacle(parse, targets):
    text = f"  DENSE_HEAD: {{NAME: AnchorHeadSingle, TARGET_ASSIGNER_CONFIG: {targets}}}\n"
    check_modules(parse(GOOD + text))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("SDAVFE", "Quux", "MODEL.VFE.NAME"),
        ("SDAVFE", "SDAVFEWide", "MODEL.VFE.NAME"),
        ("VFE: {NAME: SDAVFE}", "ROI_HEAD: {NAME: Quux}", "MODEL.ROI_HEAD.NAME"),
    ],
)
def test_a_name_that_may_be_a_forks_own_is_no_verdict(parse, old, new, key):
    with pytest.raises(NoVerdictError, match=rf"{key}: OpenPCDet has no module .*--source DIR"):
        check_modules(parse(GOOD.replace(old, new)))


def test_what_is_built_is_what_the_settings_say():
    assert built_names(DETECTOR) == ("CenterPoint", "PointPillar", "SECONDNet")
    assert set(built_names("BACKBONE_2D")) == {"BaseBEVBackbone", "BaseBEVResBackbone"}
    assert {"MeanVFE", "SDAVFE", "DynMeanVFE"} < set(built_names("VFE"))
    assert {"VoxelBackBone8x", "DSVT", "FocalDSVT"} < set(built_names("BACKBONE_3D"))
    assert built_names("ROI_HEAD") == ()


def test_a_name_that_only_bevdiag_knows_is_not_called_published():
    # The report attributes SparseHeightCompression to OpenPCDet, which has no such module.
    assert "SparseHeightCompression" not in PUBLISHED["MAP_TO_BEV"]


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
