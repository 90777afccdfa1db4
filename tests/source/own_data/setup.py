from setuptools import setup
from torch.utils.cpp_extension import CUDAExtension


def make_cuda_ext(name, module, sources):
    return CUDAExtension(name=f"{module}.{name}", sources=sources)


setup(
    name="pcdet",
    ext_modules=[
        make_cuda_ext(name="TWIST_OP", module="pcdet.ops.twist", sources=["src/twist.cpp"])
    ],
)
