import torch

from bevdiag.trace.accumulation import _is_dense, sole_owner_counts


def test_the_counts_are_found_once_and_do_not_change() -> None:
    counts = sole_owner_counts()
    assert all(count >= 1 for count in counts)
    assert sole_owner_counts() is counts
    sole_owner_counts.cache_clear()
    assert sole_owner_counts() == counts


def test_dense_is_what_fills_its_span_in_any_order_of_axes() -> None:
    x = torch.empty(4, 6, 5, device="meta")
    for dense in (x, x.permute(2, 0, 1), x.flatten(), x[None], x[1:], torch.empty(())):
        assert _is_dense(dense)
    for sparse in (x[:, :3], x[..., ::2], x[:, :1].expand(4, 6, 5)):
        assert not _is_dense(sparse)
