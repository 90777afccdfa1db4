import pytest
import torch

from bevdiag.source.stubs.cpp_functions import UnreadableError, follow
from bevdiag.source.stubs.cpp_text import without_comments

ATTEND = """
at::Tensor attend_cuda(const at::Tensor &x, const at::Tensor &at_, const int step) {
    CHECK_INPUT(x);
    const int batch = x.size(0), heads = x.size(2);
    const int each = std::min(batch, step);
    AT_ASSERTM(batch % each == 0, "batch must be a multiple of the Tensor's step");
    const at::cuda::OptionalCUDAGuard guard(device_of(x));
    auto out = at::zeros({batch, at_.size(1), heads * 2}, x.options());
    auto parts = out.view({batch / each, each, at_.size(1), heads * 2});
    for (int n = 0; n < batch / each; ++n) {
        auto columns = at::empty({each, 8}, at::device(x.device()).dtype(at::kInt));
        auto part = parts.select(0, n);
        AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "attend", ([&] {
            attend_kernel<scalar_t><<<blocks(n), 512, 0, at::cuda::getCurrentCUDAStream()>>>(
                columns.data_ptr<int>(), part.data_ptr<scalar_t>());
        }));
    }
    out = out.view({batch, -1});
    return out;
}
at::Tensor attend(const at::Tensor &x, const at::Tensor &at_, const int step = 1 << 1) {
    if (x.is_cuda()) {
        return attend_cuda(x, at_, step);
    }
    AT_ERROR("not on the CPU");
}
std::vector<at::Tensor> several(at::Tensor x) {
    std::vector<at::Tensor> made;
    made.push_back(torch::empty_like(x));
    made.push_back(x);
    return {made[0], made[1], at::sum(x, 0)};
}
"""


def _meta(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def test_outputs_and_scratch_are_made_as_the_cpp_says() -> None:
    texts = {"attend.cu": without_comments(ATTEND)}
    out = follow("attend", texts, (_meta(4, 7, 3), _meta(4, 5)))
    assert (out.shape, out.dtype, out.is_meta) == ((4, 5 * 6), torch.float16, True)
    x = _meta(4, 7)
    made, same, summed = follow("several", texts, (x,))
    assert made.shape == x.shape
    assert same is x
    assert summed.shape == (7,)


@pytest.mark.parametrize(
    "body",
    [
        "cudaMalloc(&p, n); return at::zeros({n}, x.options());",
        "thrust::sort(p, p + n); return at::zeros({n}, x.options());",
        "int k = count(p); return at::zeros({k}, x.options());",
        "int k = 1; while (k < n) { k *= 2; } return at::zeros({k}, x.options());",
        "int k = 1; measure(&k); return at::zeros({k}, x.options());",
        "int k = 1; k++; return at::zeros({k}, x.options());",
        "int k = x.max().item<int>(); return at::zeros({k}, x.options());",
        "return at::zeros({n}, x.options().device(at::kCPU));",
        "return at::zeros({n});",
        "if (p[0] > 3) { return at::zeros({n}, x.options()); } return x;",
        "for (auto &k : sizes) { x = at::zeros({k}, x.options()); } return x;",
        "return no_function_of_theirs(x);",
        "return at::no_function_of_pytorch(x);",
        "return at::zeros({n / 0}, x.options());",
        "if (p[0] > 3) { x = x.clone(); } return at::zeros({n}, x.options());",
        "fill<<<n, 1>>>(x.clone().data_ptr()); return x;",
        "hidden(x); return x;",
        "for (int k = 0; k < n; ++k) { if (k == 1) break; x = at::relu(x); } return x;",
        "#ifdef A\nint k = 1;\n#else\nint k = 2;\n#endif\nreturn at::zeros({k}, x.options());",
        "return at::zeros({n}, torch::dtype(at::kInt));",
        "grow(n); return at::zeros({n}, x.options());",
        "x = at::relu(x); return again(x, n, p);",
    ],
)
def test_what_cannot_be_followed_is_not_guessed(body: str) -> None:
    helper = "void grow(int &n) { n = 5; }\nvoid hidden(at::Tensor y) { odd(y.clone()); }"
    source = f"{helper}\nat::Tensor again(at::Tensor x, int n, int* p) {{\n{body} }}"
    with pytest.raises(UnreadableError):
        follow("again", {"a.cpp": without_comments(source)}, (_meta(3), 4, None))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return at::zeros({n / 3 * 2 + n % 3}, x.options());", (3,)),
        ("int k = (int)n << 2; return at::zeros({k, 1}, x.options());", (16, 1)),
        ("int k = n; k *= 2; k -= 1; return at::zeros({k}, x.options());", (7,)),
        ("if (n > 3 && !x.is_contiguous()) return x; return at::zeros({1}, x.options());", (1,)),
        ("at::Tensor a; if (n == 4) { a = at::zeros({9}, x.options()); } return a;", (9,)),
        (
            "#ifdef A\nreturn at::zeros({1}, torch::dtype(at::kInt).device(x.device()));\n"
            '#else\nAT_ERROR("not on the CPU");\n#endif',
            (1,),
        ),
        ("auto s = x.sizes(); return at::ones({s[0], x.dim()}, x.options());", (3, 1)),
    ],
)
def test_arithmetic_and_branches_are_those_of_cpp(body: str, expected: tuple[int, ...]) -> None:
    source = f"at::Tensor made(at::Tensor x, int n) {{\n{body} }}"
    assert follow("made", {"a.cpp": without_comments(source)}, (_meta(3), 4)).shape == expected
