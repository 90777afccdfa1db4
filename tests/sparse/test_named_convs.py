import pytest

from bevdiag.sparse import named_convs


@pytest.mark.parametrize(
    "name", sorted(n for n in vars(named_convs) if n[-2:] in ("2d", "3d", "4d"))
)
def test_a_name_says_its_axes_and_its_kind(name: str) -> None:
    kind = getattr(named_convs, name)
    keys = {"indice_key": "a"} if "Inverse" in name else {}
    layer = kind(4, 8, 3, **keys)
    assert layer.ndim == int(name[-2])
    assert layer.subm is name.startswith("SubM")
    assert layer.transposed is ("Transpose" in name)
    assert layer.inverse is ("Inverse" in name)
    assert list(layer.weight.shape) == [8, *(3,) * layer.ndim, 4]


def test_a_class_of_the_users_own_is_what_its_base_is() -> None:
    class Own(named_convs.SubMConv3d):
        pass

    assert Own(4, 8, 3).subm
