import pytest

from bevdiag.explain.candidates import described
from bevdiag.memory.device import make_target
from bevdiag.memory.events import Alloc, Category
from bevdiag.memory.requests import ConvCall, GemmWorkspace, Request

from ..streams import make, mark, stream

OLD, NEW = (make_target(torch="2.11.0", cudnn=version) for version in ("9.1", "9.3"))
BEV = ConvCall(
    direction="forward",
    input_shape=(1, 22400, 202, 502),
    weight_shape=(128, 22400, 3, 3),
    output_shape=(1, 128, 200, 500),
    stride=(1, 1),
    padding=(0, 0),
    dilation=(1, 1),
    groups=1,
    transposed=False,
    element_bytes=4,
    dtype="float32",
)


def _alloc(request: Request | None = None, shape: tuple[int, ...] = ()) -> Alloc:
    category = Category.WORKSPACE if request else Category.ACTIVATION
    made = make(0, category=category, op="aten.relu.default", shape=shape, request=request)
    return stream(mark(1), made).alloc(0)


def test_the_buffer_of_a_convolution_beyond_32_bits_is_a_product() -> None:
    what, arithmetic, condition = described(_alloc(BEV), 22400 * 9 * 200 * 500 * 4, OLD)
    assert what == "im2col buffer (workspace) of the forward convolution"
    assert arithmetic.startswith(
        "22,400 channels x 9 x 100,000 positions x 4 B = 80,640,000,000 B = 75.10 GiB"
    )
    assert condition.startswith("cuDNN before 9.3")
    assert condition.endswith("so PyTorch bypasses cuDNN")


def test_a_later_cudnn_takes_it_with_a_workspace_of_its_own() -> None:
    what, arithmetic, condition = described(_alloc(BEV), 4, NEW)
    assert what == "cuDNN workspace of the forward convolution"
    assert condition.startswith("cuDNN 9.3 or later")
    assert "bypasses" not in condition
    assert "channels-last copies of 1 x 22,400 x 202 x 502" in arithmetic


@pytest.mark.parametrize(
    ("nbytes", "said"),
    [(24, "2 x 3 x 4 B = 24 B"), (25, "25 B"), (3 * 2**20, "2 x 3 x 524288 B")],
)
def test_a_tensor_is_its_shape_where_that_divides_its_bytes(nbytes: int, said: str) -> None:
    _, text, _ = described(_alloc(shape=(2, 3)), nbytes, NEW)
    assert text.startswith(said)
    assert text.endswith("in a segment of 20.00 MiB") is (nbytes > 2**20)


def test_other_allocations_are_named_by_what_made_them() -> None:
    what, _, condition = described(_alloc(), 4, NEW)
    assert (what, condition) == ("activation of relu", "")
    assert described(_alloc(GemmWorkspace("main")), 4, NEW)[0] == "cuBLAS workspace"
