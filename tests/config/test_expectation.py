import pytest

from bevdiag.config.expectation import in_words, type_at
from bevdiag.config.settings import ModelSettings

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
