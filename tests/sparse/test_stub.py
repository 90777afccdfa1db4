import copy
import pickle

import pytest

from bevdiag.sparse import stub


@pytest.mark.parametrize("name", sorted(n for n in stub.NAMES if "Conv" in n and n[-1] == "d"))
def test_a_name_says_its_axes_and_its_kind(name: str) -> None:
    kind = stub.NAMES[name]
    keys = {"indice_key": "a"} if "Inverse" in name else {}
    layer = kind(4, 8, 3, **keys)
    assert type(layer).__name__ == name
    assert layer.ndim == int(name[-2])
    assert layer.subm is name.startswith("SubM")
    assert layer.transposed is ("Transpose" in name)
    assert layer.inverse is ("Inverse" in name)
    assert list(layer.weight.shape) == [8, *(3,) * layer.ndim, 4]


def test_a_class_of_the_users_own_is_what_its_base_is() -> None:
    class Own(stub.SubMConv3d):
        pass

    assert Own(4, 8, 3).subm


def test_a_named_layer_is_copied_and_pickled_as_any_other() -> None:
    layer = stub.SubMConv3d(4, 8, 3)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(again) is stub.SubMConv3d


def test_what_a_name_settles_cannot_be_given() -> None:
    with pytest.raises(TypeError, match="subm"):
        stub.SubMConv3d(4, 8, 3, subm=False)
