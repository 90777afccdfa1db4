import pytest

from bevdiag.config import tree
from bevdiag.config.overrides import overridden
from bevdiag.errors import ConfigError

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
