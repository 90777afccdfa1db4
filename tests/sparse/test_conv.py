from typing import Any

import pytest
import torch

from bevdiag.sparse import stub

INDICES = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4], [0, 5, 5, 5]], dtype=torch.int32)


def _tensor(channels: int = 4) -> stub.SparseConvTensor:
    return stub.SparseConvTensor(torch.zeros(3, channels), INDICES, [8, 8, 8], 1)


def test_weights_are_laid_out_as_spconv_lays_them_out() -> None:
    layer = stub.SparseConv3d(4, 6, (3, 1, 2), bias=True)

    assert layer.weight.shape == (6, 3, 1, 2, 4)
    assert layer.bias is not None
    assert layer.weight.abs().max() <= 1 / (4 * 6) ** 0.5
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert set(stub.SubMConv3d(4, 6, 3, bias=False).state_dict()) == {"weight"}


def test_a_users_subclass_is_what_its_base_is() -> None:
    class Own(stub.SubMConv3d):
        pass

    assert (Own(4, 6, 3).ndim, Own(4, 6, 3).subm) == (3, True)


@pytest.mark.parametrize(
    ("kernel", "options", "algo"),
    [
        (3, {}, "MaskImplicitGemm"),
        ((4, 4, 2), {}, "MaskImplicitGemm"),
        (4, {}, "Native"),
        (5, {"large_kernel_fast_algo": True}, "MaskImplicitGemm"),
        (7, {"large_kernel_fast_algo": True}, "Native"),
        (3, {"algo": stub.ConvAlgo.Native}, "Native"),
    ],
)
def test_the_kernel_volume_picks_the_algorithm(
    kernel: Any, options: dict[str, Any], algo: str
) -> None:
    assert stub.SparseConv3d(4, 6, kernel, **options).algo.name == algo


def test_submanifold_layers_share_a_rulebook() -> None:
    x = _tensor()
    first = stub.SubMConv3d(4, 4, 3, indice_key="a")(x)
    second = stub.SubMConv3d(4, 6, 3, indice_key="a")(first)

    assert not x.indice_dict
    assert second.indice_dict["a"] is first.indice_dict["a"]
    assert second.indices is x.indices


def test_pointwise_layers_make_no_rulebook() -> None:
    out = stub.SubMConv3d(4, 6, 1, indice_key="a")(_tensor())

    assert out.features.shape == (3, 6)
    assert not out.indice_dict


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (stub.SubMConv3d(4, 4, 3, indice_key="a"),) * 1
        + (stub.SubMConv3d(4, 4, 5, indice_key="a"), "differ in algo"),
        (
            stub.SubMConv3d(4, 4, 3, indice_key="a"),
            stub.SubMConv3d(4, 4, (3, 3, 1), indice_key="a"),
            "differ in kernel",
        ),
        (
            stub.SubMConv3d(4, 4, 3, indice_key="a"),
            stub.SparseInverseConv3d(4, 4, 3, "a"),
            "has no inverse",
        ),
        (
            stub.SparseConv3d(4, 4, 3, 2, 1, indice_key="a"),
            stub.SparseConv3d(4, 4, 3, 2, 1, indice_key="a"),
            "exists already",
        ),
        (
            stub.SparseConv3d(4, 4, 3, 2, 1),
            stub.SparseInverseConv3d(4, 4, 3, "a"),
            "no convolution before",
        ),
        (stub.SubMConv3d(4, 5, 3), stub.SubMConv3d(4, 4, 3), "takes 4 channels"),
        (stub.SubMConv3d(4, 4, 3), stub.SubMConv2d(4, 4, 3), "of 2 axes meets"),
    ],
)
def test_layers_that_do_not_fit_are_refused(first: Any, second: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        second(first(_tensor()))


def test_a_rulebook_for_another_grid_is_refused() -> None:
    first = stub.SubMConv3d(4, 4, 3, indice_key="a")(_tensor())
    down = stub.SparseConv3d(4, 4, 3, 2, 1)(first)

    with pytest.raises(ValueError, match=r"is for 3 voxels in \[8, 8, 8\]"):
        stub.SubMConv3d(4, 4, 3, indice_key="a")(down)


def test_unsupported_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="groups=2"):
        stub.SparseConv3d(4, 4, 3, groups=2)
    with pytest.raises(ValueError, match="no padding"):
        stub.SparseConv3d(4, 4, 1, padding=1)
    with pytest.raises(ValueError, match="expected 3 sizes"):
        stub.SparseConv3d(4, 4, (3, 3))
    with pytest.raises(ValueError, match="reaches zero"):
        stub.SparseConv3d(4, 4, 9)(_tensor())


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"kernel_size": 0}, "kernel_size takes sizes of at least 1"),
        ({"stride": (1, 0, 1)}, r"stride .* at least 1, found \[1, 0, 1\]"),
        ({"dilation": 0}, "dilation takes sizes of at least 1"),
        ({"padding": -1}, "padding takes sizes of at least 0"),
    ],
)
def test_windows_without_extent_are_refused(sizes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        stub.SparseConv3d(4, 4, **sizes)


def test_the_largest_output_is_recorded() -> None:
    layer = stub.SparseConv3d(4, 4, 3, 2, 1, record_voxel_count=True)
    out = layer(_tensor())

    count = layer.get_max_num_voxels()
    assert count is not None
    assert count.tolist() == [len(out.indices)]


def test_an_addend_is_added_to_the_result() -> None:
    layer = stub.SubMConv3d(4, 4, 3, indice_key="a")
    addend = _tensor().replace_feature(torch.ones(3, 4))

    torch.testing.assert_close(
        layer(_tensor(), add_input=addend).features, layer(_tensor()).features + 1
    )


def test_repr_names_what_differs() -> None:
    text = repr(stub.SparseConv3d(4, 6, 3, 2, 1, bias=False))

    assert "4, 6, kernel_size=[3, 3, 3], stride=[2, 2, 2], padding=[1, 1, 1]" in text
    assert "bias=False" in text
    assert "dilation" not in text
