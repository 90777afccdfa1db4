#include <torch/extension.h>

void twist_wrapper(int n, at::Tensor x, at::Tensor out) {
    launch(n, x, out);
}

at::Tensor untwist(at::Tensor x) {
    return launch(x);
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
    m.def("twist_wrapper", &twist_wrapper, "twist");
    m.def("untwist", &untwist, "untwist");
}
