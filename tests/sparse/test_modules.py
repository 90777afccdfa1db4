import sys
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bevdiag.errors import InputError
from bevdiag.sparse import constants, library, namespace, stub

INDICES = torch.tensor([[0, 1, 2, 3], [0, 5, 5, 5]], dtype=torch.int32)


def _tensor(num: int = 2) -> stub.SparseConvTensor:
    return stub.SparseConvTensor(torch.full((num, 4), -1.0), INDICES[:num], [8, 8, 8], 1)


def test_plain_modules_get_the_features_and_sparse_ones_the_tensor() -> None:
    net = stub.SparseSequential(
        stub.SubMConv3d(4, 6, 3), nn.BatchNorm1d(6), stub.SparseReLU(), stub.ToDense()
    )

    out = net(_tensor())

    assert out.shape == (1, 6, 8, 8, 8)
    assert (out >= 0).all()


def test_dense_results_run_through_the_rest() -> None:
    net = stub.SparseSequential(stub.ToDense(), nn.ReLU())

    assert not net(_tensor()).any()


def test_plain_modules_are_skipped_without_voxels() -> None:
    norm = nn.BatchNorm1d(4)

    assert stub.SparseSequential(norm)(_tensor(0)).features.shape == (0, 4)


def test_sequences_are_built_like_spconvs() -> None:
    by_name = stub.SparseSequential(OrderedDict(a=nn.ReLU(), b=nn.Identity()))
    by_position = stub.SparseSequential(nn.ReLU(), tail=nn.Identity())
    by_position.add(nn.Tanh())

    assert list(dict(by_name.named_children())) == ["a", "b"]
    assert list(dict(by_position.named_children())) == ["0", "tail", "2"]
    assert isinstance(by_position[-1], nn.Tanh)
    assert len(by_position) == 3
    with pytest.raises(ValueError, match="given twice"):
        stub.SparseSequential(nn.ReLU(), **{"0": nn.ReLU()})


def test_sparse_modules_learn_their_path() -> None:
    net = nn.Sequential(stub.SparseSequential(stub.SubMConv3d(4, 4, 3)))

    stub.assign_name_for_sparse_modules(net)

    assert net[0][0]._sparse_unique_name == "0.0"


def test_the_device_chooses_the_library() -> None:
    assert namespace("meta") is stub
    assert namespace("cpu") is stub


@pytest.mark.parametrize("direct_table", [True, False])
def test_the_librarys_switch_is_set_for_a_while(direct_table: bool) -> None:
    with library("meta", direct_table=direct_table) as spconv:
        assert spconv is stub
        assert constants.SPCONV_USE_DIRECT_TABLE is direct_table
    assert constants.SPCONV_USE_DIRECT_TABLE


def test_spconv_itself_finds_the_switch_set_when_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = SimpleNamespace(SPCONV_USE_DIRECT_TABLE=True)
    monkeypatch.setitem(sys.modules, "spconv.constants", real)
    monkeypatch.setitem(sys.modules, "spconv.pytorch", stub)
    with library("cuda", direct_table=False):
        assert not real.SPCONV_USE_DIRECT_TABLE
    assert real.SPCONV_USE_DIRECT_TABLE


def test_cuda_without_spconv_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)

    with pytest.raises(InputError, match="needs spconv"):
        namespace("cuda")
