import copy
import pickle
from itertools import permutations

import numpy as np
import pytest
import torch

from bevdiag.source.stubs.small_packages import (
    EasyDict,
    Rearrange,
    einsum,
    linear_sum_assignment,
    modules_of,
    rearrange,
    repeat,
)
from bevdiag.source.stubs.spconv import spconv_modules


def test_easydict_has_attributes_at_every_depth() -> None:
    config = EasyDict({"MODEL": {"HEADS": [{"NAME": "a"}], "SIZE": (1, 2)}}, EXTRA=1)
    assert config.MODEL.HEADS[0].NAME == "a"
    assert config.EXTRA == 1
    config.MODEL.update({"NEW": {"KEY": 2}})
    assert config.MODEL.NEW.KEY == 2
    assert config.get("NOTHING") is None
    with pytest.raises(AttributeError):
        _ = config.NOTHING
    del config.EXTRA
    assert "EXTRA" not in config
    for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert copied == config
        assert isinstance(copied.MODEL.HEADS[0], EasyDict)


def test_addict_s_dict_grows_where_something_is_put_into_it() -> None:
    grown = modules_of("addict")["addict"].Dict(model={"heads": [{"type": "a"}]})
    assert grown.model.heads[0].type == "a"
    assert not grown.train.hooks
    assert "train" not in grown
    grown.train.optimizer.lr = 0.1
    assert grown == {"model": {"heads": [{"type": "a"}]}, "train": {"optimizer": {"lr": 0.1}}}
    assert copy.deepcopy(grown).train.optimizer.lr == 0.1

    class Strict(type(grown)):  # type: ignore[misc]
        def __missing__(self, name: str) -> None:
            raise KeyError(name)

        def __getattr__(self, name: str) -> object:
            try:
                return super().__getattr__(name)
            except KeyError:
                raise AttributeError(name) from None

    assert not hasattr(Strict(a=1), "b")
    assert Strict(a={"b": 2}).a.b == 2


def test_six_has_the_types_that_code_of_two_pythons_asks_for() -> None:
    six = modules_of("six")["six"]
    assert isinstance("a", six.string_types)
    assert not isinstance(1, six.string_types)
    assert list(six.iteritems({"a": 1})) == [("a", 1)]
    assert list(six.moves.range(2)) == [0, 1]


def test_spconv_has_the_modules_that_detectors_import() -> None:
    modules = spconv_modules()
    assert float(modules["spconv"].__version__[2:]) >= 2.2
    assert modules["spconv"].constants is modules["spconv.constants"]
    pytorch = modules["spconv.pytorch"]
    assert pytorch.conv.SparseConvolution is not None
    assert issubclass(pytorch.SubMConv3d, pytorch.modules.SparseModule)
    assert pytorch.core.expand_nd(3, 2) == [2, 2, 2]
    for name in ("utils", "core", "functional", "conv", "modules", "pool"):
        assert f"spconv.pytorch.{name}" in modules
    assert "cumm.tensorview" in modules


@pytest.mark.parametrize("shape", [(4, 6), (6, 4), (5, 5), (1, 3), (0, 3)])
@pytest.mark.parametrize("maximize", [False, True])
def test_no_other_assignment_is_better(shape: tuple[int, int], maximize: bool) -> None:
    for seed in range(5):
        cost = np.random.default_rng(seed).normal(size=shape).round(1)
        rows, columns = linear_sum_assignment(cost, maximize)
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert len(set(columns.tolist())) == len(rows) == min(shape)
        wide = cost if shape[0] <= shape[1] else cost.T
        sums = [
            wide[range(len(wide)), list(chosen)].sum()
            for chosen in permutations(range(wide.shape[1]), len(wide))
        ]
        assert cost[rows, columns].sum() == pytest.approx(max(sums) if maximize else min(sums))


def test_a_pair_that_is_ruled_out_is_not_chosen() -> None:
    cost = np.array([[np.inf, 1.0], [0.0, 9.0]])
    assert linear_sum_assignment(cost)[1].tolist() == [1, 0]
    with pytest.raises(ValueError, match="infeasible"):
        linear_sum_assignment(np.full((2, 2), np.inf))


def test_what_is_no_number_is_refused_as_scipy_does() -> None:
    with pytest.raises(ValueError, match="invalid numeric"):
        linear_sum_assignment([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="matrix"):
        linear_sum_assignment([1.0])


def test_it_stands_in_for_scipy_s() -> None:
    made = modules_of("scipy")["scipy.optimize"]
    assert made.linear_sum_assignment is linear_sum_assignment


X = torch.arange(24).view(2, 3, 4)


def test_axes_change_places_join_and_part() -> None:
    assert torch.equal(rearrange(X, "b l d -> d (b l)"), X.permute(2, 0, 1).reshape(4, 6))
    assert torch.equal(
        rearrange(X, "b l (h k) -> b h l k", k=2), X.view(2, 3, 2, 2).transpose(1, 2)
    )
    assert torch.equal(rearrange(X, "... d -> d ..."), X.permute(2, 0, 1))
    assert rearrange(X, "b l d -> b 1 d l").shape == (2, 1, 4, 3)
    assert torch.equal(Rearrange("b l d -> (b l) d")(X), X.view(6, 4))


def test_new_axes_repeat() -> None:
    assert torch.equal(repeat(X, "b l d -> b l d n", n=5), X[..., None].expand(2, 3, 4, 5))


def test_sums_over_axes_by_name() -> None:
    summed = einsum(X, X, "b row d, b row d -> b row")
    assert torch.equal(summed, (X * X).sum(-1))


def test_an_axis_on_one_side_alone() -> None:
    with pytest.raises(ValueError, match="one side alone"):
        rearrange(X, "b l d -> b l")
