import pytest

from bevdiag.config.backbone_settings import SdaVfeSettings
from bevdiag.config.checking import checked, in_words, type_at
from bevdiag.config.head_settings import CenterHeadSettings
from bevdiag.config.model_settings import ModelSettings, OptimizationSettings
from bevdiag.errors import ConfigError

VFE = ("MODEL", "VFE")


def error(parse, settings, text, path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        checked(settings, parse(text), path)
    return str(raised.value).splitlines()


def test_a_section_that_is_not_written_has_the_defaults(parse):
    assert checked(OptimizationSettings, parse("A: 1"), ("OPTIMIZATION",)).lr == 0.003


def test_a_section_that_is_none(parse):
    lines = error(parse, OptimizationSettings, "OPTIMIZATION: 3", ("OPTIMIZATION",))
    assert lines == ["c.yaml:1:15: OPTIMIZATION: expected a mapping of keys to values, found 3"]


def test_every_problem_has_a_line_with_its_place_and_key(parse):
    text = "MODEL: {VFE: {NAME: SDAVFE, NUM_FILTERS: [64, x], VOXEL_SIZE: [1, 2]}}"
    assert error(parse, SdaVfeSettings, text, VFE) == [
        "c.yaml:1:47: MODEL.VFE.NUM_FILTERS.1: expected a whole number, found the text 'x'",
        "c.yaml:1:63: MODEL.VFE.VOXEL_SIZE: expected a list of 3 numbers, found a list of 2",
        "c.yaml:1:14: MODEL.VFE.POINT_CLOUD_RANGE: is missing: expected a list of 6 numbers",
    ]


def test_many_problems_are_counted_after_the_first_ten(parse):
    heads = ", ".join(f"b{i}: {{}}" for i in range(8))
    branches = f"HEAD_ORDER: [b0], HEAD_DICT: {{{heads}}}"
    text = f"H: {{NAME: CenterHead, SEPARATE_HEAD_CFG: {{{branches}}}}}"
    lines = error(parse, CenterHeadSettings, text, ("H",))
    # 2 keys in each of 8 branches, and 3 sections of the head itself
    assert len(lines) == 11
    assert lines[-1] == "... and 9 more"


def test_the_same_problem_of_all_entries_of_a_list_is_reported_once(parse):
    text = (
        "MODEL: {VFE: {NAME: SDAVFE, NUM_FILTERS: [a, b, c], VOXEL_SIZE: [1, 1, 1], "
        "POINT_CLOUD_RANGE: [0, 0, 0, 1, 1, 1]}}"
    )
    (line,) = error(parse, SdaVfeSettings, text, VFE)
    assert (
        line == "c.yaml:1:43: MODEL.VFE.NUM_FILTERS.0: expected a whole number, found the text 'a'"
    )


def test_lower_case_spelling_is_another_key(parse):
    text = (
        "MODEL: {VFE: {NAME: SDAVFE, num_filters: [64], VOXEL_SIZE: [1, 1, 1], "
        "POINT_CLOUD_RANGE: [0, 0, 0, 1, 1, 1]}}"
    )
    assert error(parse, SdaVfeSettings, text, VFE) == [
        "c.yaml:1:14: MODEL.VFE.NUM_FILTERS: is missing: expected a list of whole numbers; "
        "'num_filters' stands there: write NUM_FILTERS"
    ]


@pytest.mark.parametrize("text", ["true", "'0.1'", "[0.1]", ".inf", ".nan"])
def test_what_is_no_number(parse, text):
    (line,) = error(parse, OptimizationSettings, f"O: {{LR: {text}}}", ("O",))
    assert line.startswith("c.yaml:1:9: O.LR: expected a number")


def test_whole_numbers_are_numbers_too(parse):
    assert (
        checked(OptimizationSettings, parse("O: {GRAD_NORM_CLIP: 35}"), ("O",)).grad_norm_clip == 35
    )


DSVT = ("BACKBONE_3D", "FocalDSVT", "DSVT")
HEAD = ("DENSE_HEAD", "CenterHead", "SEPARATE_HEAD_CFG")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("VFE",), "a mapping of keys to values"),
        (("VFE", "SDAVFE", "NUM_FILTERS"), "a list of whole numbers"),
        (("VFE", "SDAVFE", "NUM_FILTERS", 3), "a whole number"),
        (("VFE", "SDAVFE", "USE_NORM"), "true or false"),
        (("VFE", "SDAVFE", "VOXEL_SIZE"), "a list of 3 numbers"),
        ((*DSVT, "INPUT_LAYER", "shifts_list"), "a list of lists of 2 lists of 3 whole numbers"),
        ((*DSVT, "INPUT_LAYER", "downsample_stride", 0), "a list of 3 whole numbers"),
        ((*DSVT, "block_name"), "a list of entries that are 'DSVTBlock'"),
        ((*DSVT, "activation"), "'relu' or 'gelu'"),
        ((*DSVT, "dropout"), "a number"),
        (("MAP_TO_BEV", "SparseHeightCompression", "INPUT_FEATURES"), "a whole number"),
        ((*HEAD, "HEAD_DICT"), "a mapping of keys to values"),
        ((*HEAD, "HEAD_DICT", "center", "out_channels"), "a whole number"),
        (("DENSE_HEAD", "CenterHead", "CLASS_NAMES_EACH_HEAD"), "a list of lists of texts"),
    ],
)
def test_what_is_expected_at_a_place(keys, words):
    assert in_words(type_at(ModelSettings, keys)) == words
