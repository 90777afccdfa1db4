"""Whole configs: the shipped ones, the report's own, and OpenPCDet's."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bevdiag.config import NoteCode, load_config, tree
from bevdiag.config.load import MAX_LAYERS, overridden
from bevdiag.config.tree import Section
from bevdiag.errors import BevdiagError, ConfigError, NoVerdictError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
SHARED = ROOT.parent / "shared"
SHIPPED = CONFIGS / "focalsst_dsvt.yaml"

needs_report = pytest.mark.skipif(
    not (SHARED / "focalsst").is_dir(), reason="the report's own configs are not here"
)
needs_openpcdet = pytest.mark.skipif(
    not (SHARED / "openpcdet").is_dir(), reason="OpenPCDet's configs are not here"
)


def test_the_shipped_model():
    config = load_config(SHIPPED)
    assert config.notes == ()
    assert config.class_names == ("Box", "Diver")
    assert config.data.grid_size == (500, 200, 175)
    assert (config.data.max_points_per_voxel, config.data.max_voxels) == (128, 40000)
    assert config.data.point_features == ("x", "y", "z", "intensity")
    assert config.model.map_to_bev.num_bev_features == 128 * 175
    assert config.model.map_to_bev.input == "dsvt"
    assert config.optimization.batch_size_per_gpu == 1
    assert config.optimization.optimizer == "adam_onecycle"


def test_the_model_as_committed_differs_in_the_declared_channels_alone():
    shipped, committed = (
        load_config(SHIPPED),
        load_config(CONFIGS / "focalsst_dsvt_declared128.yaml"),
    )
    assert committed.notes == ()
    assert committed.model.map_to_bev.num_bev_features == 128
    key = ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES")
    assert committed.edited({key: 22400}).model == shipped.model
    assert committed.data == shipped.data
    assert committed.optimization == shipped.optimization


@needs_report
def test_the_shipped_model_is_the_reports_but_for_what_its_out_of_memory_needed():
    report = load_config(SHARED / "focalsst/cfgs/sonar_models/focal_sst.yaml")
    assert report.notes == ()
    evaluation = [("MODEL", "POST_PROCESSING"), ("MODEL", "DENSE_HEAD", "POST_PROCESSING")]
    steps = ["DECAY_STEP_LIST", "LR_DECAY", "LR_CLIP", "LR_WARMUP", "WARMUP_EPOCH"]
    changes = {
        ("MODEL", "MAP_TO_BEV", "NUM_BEV_FEATURES"): 22400,
        ("MODEL", "MAP_TO_BEV", "INPUT"): "dsvt",
        ("OPTIMIZATION", "BATCH_SIZE_PER_GPU"): 1,
        **dict.fromkeys(evaluation),
        **{("OPTIMIZATION", key): None for key in steps},
    }
    edited, shipped = report.edited(changes), load_config(SHIPPED)
    assert edited.model == shipped.model
    assert edited.optimization == shipped.optimization
    assert edited.data == shipped.data


@needs_report
def test_a_sibling_of_other_modules_loads():
    config = load_config(SHARED / "focalsst/cfgs/sonar_models/second_sonar.yaml")
    assert config.model.vfe.name == "MeanVFE"
    assert config.model.backbone_3d.name == "VoxelBackBone8x"


@needs_openpcdet
@pytest.mark.parametrize(
    "folder", ["kitti", "waymo", "nuscenes", "once", "lyft", "argo2", "custom"]
)
def test_configs_of_openpcdet_load_or_say_in_one_line_what_is_not_modelled(folder):
    paths = sorted((SHARED / f"openpcdet/cfgs/{folder}_models").glob("*.yaml"))
    assert paths
    said = [_no_verdict(path) for path in paths]
    line = re.compile(r"\S+\.yaml:\d+:\d+: .* OpenPCDet modules? that bevdiag does not model")
    assert [text for text in said if text and not line.fullmatch(text)] == []


def _no_verdict(path):
    try:
        load_config(path)
    except NoVerdictError as error:
        return str(error)
    return ""


def test_overrides_reach_every_kind_of_setting(altered):
    config = load_config(
        altered(),
        [
            "OPTIMIZATION.LR=1e-4",
            "OPTIMIZATION.USE_AMP=true",
            "MODEL.MAP_TO_BEV.INPUT=encoder",
            "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MAX_POINTS_PER_VOXEL=32",
        ],
    )
    assert config.optimization.lr == 1e-4
    assert config.optimization.use_amp
    assert config.model.map_to_bev.input == "encoder"
    assert config.data.max_points_per_voxel == 32
    assert config.notes == ()


def test_an_override_that_makes_no_sense_is_placed_at_the_option(altered):
    with pytest.raises(ConfigError) as raised:
        load_config(altered(), ["MODEL.NAME=CenterPoint", "OPTIMIZATION.LR=fast"])
    assert str(raised.value) == (
        "--set:2:17: OPTIMIZATION.LR: expected a number, found the text 'fast'"
    )


def test_an_edit_is_checked_again_and_leaves_the_original_alone(altered):
    config = load_config(altered())
    voxels = ("DATA_CONFIG", "DATA_PROCESSOR", "transform_points_to_voxels")
    edited = config.edited(
        {(*voxels, "MAX_POINTS_PER_VOXEL"): 5, ("MODEL", "MAP_TO_BEV", "INPUT"): None}
    )
    assert edited.data.max_points_per_voxel == 5
    assert edited.model.map_to_bev.input == "dsvt"
    assert config.data.max_points_per_voxel == 128
    with pytest.raises(ConfigError, match=r"x: 50 m / 300 m"):
        config.edited({(*voxels, "VOXEL_SIZE"): (300, 0.2, 0.2)})


def test_notes_on_the_text_stay_with_an_edited_config(altered):
    config = load_config(altered(("LR: 0.003", "LR: 3e-3")))
    edited = config.edited({("OPTIMIZATION", "USE_AMP"): True})
    assert [note.code for note in edited.notes] == [NoteCode.NUMBER_AS_TEXT]
    assert config.optimization.lr == 0.003


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("CLASS_NAMES: [Box, Diver]", "", "CLASS_NAMES: is missing: expected a list of texts"),
        ("CLASS_NAMES: [Box, Diver]", "CLASS_NAMES: []", "a list of texts, at least 1, found a"),
        ("CLASS_NAMES: [Box, Diver]", "CLASS_NAMES: Box", "found the text 'Box'"),
        (
            "CLASS_NAMES: [Box, Diver]",
            "CLASS_NAMES: [1, 2]",
            "CLASS_NAMES.0: expected text, found",
        ),
        (
            "CLASS_NAMES: [Box, Diver]",
            "CLASS_NAMES: [Box, Box, Diver]",
            "CLASS_NAMES: expected every class once, found 'Box' more often",
        ),
    ],
)
def test_class_names(altered, old, new, message):
    with pytest.raises(BevdiagError) as raised:
        load_config(altered((old, new)))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "value", [True, -1, 2**62, float("nan"), "", (), ((1, 2),), {"NAME": None}], ids=repr
)
def test_any_value_anywhere_is_a_setting_or_an_error_in_words(value):
    config = load_config(SHIPPED)
    said = [_said(config, {path: value}) for path in _paths(config.document.root)]
    assert [text for text in said if "Input should" in text] == [], "pydantic's own words"


def _said(config, changes):
    try:
        config.edited(changes)
    except BevdiagError as error:
        return str(error)
    return ""


def _paths(node, path=()):
    below = node.entries if isinstance(node, Section) else {}
    for key, entry in below.items():
        yield (*path, key)
        yield from _paths(entry, (*path, key))


TEXT = """
MODEL: {NAME: CenterPoint, VFE: {NUM_FILTERS: [64, 64]}}
STEPS: [{NAME: voxels, SIZE: 1}]
"""


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        ("MODEL.NAME=PointPillar", "MODEL.NAME", "PointPillar"),
        ("MODEL.VFE.NUM_FILTERS=[32]", "MODEL.VFE.NUM_FILTERS", (32,)),
        ("MODEL.VFE.NUM_FILTERS.1=32", "MODEL.VFE.NUM_FILTERS", (64, 32)),
        ("STEPS.0.SIZE=1e-1", "STEPS.0.SIZE", 0.1),
        ("STEPS.voxels.SIZE=5", "STEPS.0.SIZE", 5),
        ("MODEL.VFE.NEW=yes", "MODEL.VFE.NEW", True),
        ("MODEL.VFE={NAME: X}", "MODEL.VFE", {"NAME": "X"}),
        ("MODEL.NAME=a=b", "MODEL.NAME", "a=b"),
        ("MODEL.NAME=", "MODEL.NAME", None),
    ],
)
def test_values(parse, option, key, value):
    root = overridden(parse(TEXT), [option])
    assert tree.plain(tree.find(root, key.split("."))) == value


def test_the_last_of_two_wins_and_knows_which_option_it_was(parse):
    root = overridden(parse(TEXT), ["MODEL.NAME=A", "MODEL.NAME=B"])
    node = tree.find(root, ("MODEL", "NAME"))
    assert (node.value, str(node.location)) == ("B", "--set:2:12")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("MODEL.NAME", "--set:1:1: expected KEY=value such as MODEL.VFE.USE_NORM=false, found"),
        ("=3", "expected KEY=value"),
        ("MODEL..NAME=3", "expected KEY=value"),
        (
            "MODLE.NAME=x",
            "--set:1:1: MODLE.NAME: the config has no key 'MODLE'; did you mean 'MODEL'?",
        ),
        ("MODEL.VEF.X=1", "MODEL.VEF.X: MODEL has no key 'VEF'; did you mean 'VFE'?"),
        ("MODEL.NAME.X=1", "MODEL.NAME is the text 'CenterPoint' and has no keys"),
        ("STEPS.7.SIZE=1", "STEPS is a list of 1, and '7' is neither an index nor a NAME in it"),
        ("STEPS.7=1", "STEPS is a list of 1, and '7' is neither an index nor a NAME in it"),
        ("MODEL._BASE_CONFIG_=x", "bases are merged before --set is applied"),
        ("MODEL.NAME=[1,", "--set:1:15: not valid YAML"),
        ("MODEL.NAME=!!python/name:os.system x", "is not allowed"),
    ],
)
def test_options_that_make_no_sense(parse, option, message):
    with pytest.raises(ConfigError) as raised:
        overridden(parse(TEXT), [option])
    assert message in str(raised.value)


HEADS = "CLASS_NAMES_EACH_HEAD: [[Box, Diver]]"


def test_heads_keep_the_classes_of_class_names_alone(altered):
    path = altered((HEADS, "CLASS_NAMES_EACH_HEAD: [[Diver, Buoy], [Box]]"))
    assert load_config(path).model.dense_head.class_names_each_head == (("Diver",), ("Box",))


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ("[[Box]]", "expected every class of CLASS_NAMES once, found 0 of 'Diver'"),
        ("[[Box, Diver], [Box]]", "expected every class of CLASS_NAMES once, found 2 of 'Box'"),
        ("[[Box, Diver], [Buoy]]", "head 2 has no class of CLASS_NAMES"),
    ],
)
def test_classes_and_heads_that_do_not_agree(altered, place, heads, message):
    path = altered((HEADS, f"CLASS_NAMES_EACH_HEAD: {heads}"))
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    where = place(path, heads + "\n")
    assert str(raised.value) == f"{where}: MODEL.DENSE_HEAD.CLASS_NAMES_EACH_HEAD: {message}"


def test_a_vfe_of_padded_voxels_needs_them(altered):
    path = altered(
        ("NAME: transform_points_to_voxels", "NAME: transform_points_to_voxels_placeholder")
    )
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert str(raised.value).endswith(
        "MODEL.VFE.NAME: SDAVFE reads padded voxels: expected transform_points_to_voxels in "
        "DATA_PROCESSOR"
    )


def test_copies_of_the_grid_that_differ_are_noted(altered, place):
    copy = "VOXEL_SIZE: [0.1, 0.2, 0.2]\n    POINT"
    path = altered((copy, copy.replace("0.1", "0.4")))
    (note,) = load_config(path).notes
    assert note.code is NoteCode.COPIES_DIFFER
    assert note.message == "[0.4, 0.2, 0.2] differs from DATA_CONFIG's voxel size [0.1, 0.2, 0.2]"
    assert note.key == "MODEL.VFE.VOXEL_SIZE"
    assert note.location == place(path, "VOXEL_SIZE: [0.4")


def test_all_copies_are_compared(altered):
    options = [
        "DATA_CONFIG.POINT_CLOUD_RANGE=[0, -20, -20, 50, 20, 20]",
        "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.VOXEL_SIZE=[0.1, 0.2, 0.25]",
    ]
    notes = load_config(altered(), options).notes
    assert [note.key.removeprefix("MODEL.") for note in notes] == [
        "VFE.VOXEL_SIZE",
        "BACKBONE_3D.FOCAL_ENCODER.VOXEL_SIZE",
        "VFE.POINT_CLOUD_RANGE",
        "BACKBONE_3D.FOCAL_ENCODER.POINT_CLOUD_RANGE",
    ]


_BLOCKS = (
    "set_info: [[36, 4]] # [voxels a set, blocks]",
    "      set_info: [[36, 4]]\n      d_model",
)


def _blamed(altered: Callable[..., Path], *replacements: tuple[str, str]) -> str:
    with pytest.raises(ConfigError) as refused:
        load_config(altered(*replacements))
    assert str(refused.value).endswith(f"expected at most {MAX_LAYERS} in the whole model")
    return refused.value.key


@pytest.mark.parametrize(
    ("old", "new", "section"),
    [
        ("LAYER_NUMS: [5, 5]", f"LAYER_NUMS: [5, {MAX_LAYERS}]", "BACKBONE_2D"),
        ("NUM_HM_CONV: 2", f"NUM_HM_CONV: {MAX_LAYERS}", "DENSE_HEAD"),
        ("NUM_FILTERS: [64, 64]", f"NUM_FILTERS: {[1] * MAX_LAYERS}", "VFE"),
        (
            "NAME: HeightCompression\n",
            f"NAME: HeightCompression\n    HEIGHT_STRIDES: {[1] * MAX_LAYERS}\n",
            "MAP_TO_BEV",
        ),
    ],
)
def test_the_section_with_most_layers_is_blamed(
    altered: Callable[..., Path], old: str, new: str, section: str
) -> None:
    assert _blamed(altered, (old, new)) == f"MODEL.{section}"


def test_the_blocks_of_dsvt_count(altered: Callable[..., Path]) -> None:
    changes = [(old, old.replace("[36, 4]", f"[36, {MAX_LAYERS}]")) for old in _BLOCKS]
    assert _blamed(altered, *changes) == "MODEL.BACKBONE_3D"


def test_a_deep_model_may_stay_below(altered: Callable[..., Path]) -> None:
    load_config(altered(("LAYER_NUMS: [5, 5]", "LAYER_NUMS: [5, 1800]")))


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ("OPTIMIZATION:", "OPTIMISATION:", "nothing reads OPTIMISATION; did you mean 'OPTIM"),
        ("DATA_CONFIG:\n", "DATA_CONFIG:\n  MAX_SWEPS: 3\n", "MAX_SWEPS; did you mean 'MAX_SWEEPS"),
    ],
)
def test_a_slip_where_others_keys_stand_too_is_noted(altered, old, new, meant):
    (note,) = load_config(altered((old, new))).notes
    assert note.code is NoteCode.UNKNOWN_KEY
    assert meant in note.message


@pytest.mark.parametrize(
    "key",
    ["WANDB", "DATA_CONFIG.INFO", "DATA_CONFIG.DATA_PROCESSOR.transform_points_to_voxels.MORE"],
)
def test_an_override_that_no_figure_depends_on_is_noted(altered, key):
    (note,) = load_config(altered(), [f"{key}=1"]).notes
    assert note.message == f"no figure here depends on {key.rpartition('.')[2]}"
    assert (note.key.rpartition(".")[2], note.location.line) == (key.rpartition(".")[2], 1)
    place = "DATA_CONFIG:\n"
    assert load_config(altered((place, f"{place}  INFO: 1\n"))).notes == ()
