"""The stub against the real spconv: same cells, values, gradients and first weights."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bevdiag.sparse import stub

ORACLE = Path(__file__).with_name("spconv_oracle.py")


def _conv(kind: str, kernel: Any, **kwargs: Any) -> dict[str, Any]:
    inverse = "Inverse" in kind
    args = (5, 4) if inverse else (4, 5)
    return {"type": kind, "args": (*args, kernel), "kwargs": {"bias": False, **kwargs}}


def _pool(kind: str, kernel: Any, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "args": (kernel,), "kwargs": kwargs}


CASES = {
    "subm": ((9, 8, 7), [_conv("SubMConv3d", 3)]),
    "subm with a bias": (
        (9, 8, 7),
        [
            {"type": "SubMConv3d", "args": (4, 5, 3), "kwargs": {"indice_key": "subm"}},
            {"type": "SubMConv3d", "args": (5, 6, 3), "kwargs": {"indice_key": "subm"}},
        ],
    ),
    "subm dilated": ((9, 8, 7), [_conv("SubMConv3d", 3, dilation=2)]),
    "subm flat kernel": ((9, 8, 7), [_conv("SubMConv3d", (3, 1, 5))]),
    "subm pointwise": ((9, 8, 7), [_conv("SubMConv3d", 1)]),
    "subm large": ((9, 8, 7), [_conv("SubMConv3d", 5)]),
    "subm 2d": ((30, 20), [_conv("SubMConv2d", 3)]),
    "stride 2": ((9, 8, 7), [_conv("SparseConv3d", 3, stride=2, padding=1)]),
    "stride 2, padding (0, 1, 1)": (
        (9, 8, 7),
        [_conv("SparseConv3d", 3, stride=2, padding=(0, 1, 1))],
    ),
    "stride (2, 1, 1)": (
        (9, 8, 7),
        [_conv("SparseConv3d", (3, 1, 1), stride=(2, 1, 1), padding=0)],
    ),
    "stride 1": ((9, 8, 7), [_conv("SparseConv3d", 3, padding=1)]),
    "stride 3": ((9, 8, 7), [_conv("SparseConv3d", 2, stride=3, padding=1)]),
    "dilated": ((19, 18, 17), [_conv("SparseConv3d", 3, stride=2, padding=2, dilation=2)]),
    "pointwise": ((9, 8, 7), [_conv("SparseConv3d", 1)]),
    "pointwise, stride 2": ((9, 8, 7), [_conv("SparseConv3d", 1, stride=2)]),
    "2d": ((30, 20), [_conv("SparseConv2d", 3, stride=2, padding=1)]),
    "2d, kernel 5": ((30, 20), [_conv("SparseConv2d", 5, stride=(3, 2), padding=(2, 0))]),
    "transposed": ((5, 4, 6), [_conv("SparseConvTranspose3d", 3, stride=2, padding=1)]),
    "transposed, kernel 2": ((5, 4, 6), [_conv("SparseConvTranspose3d", 2, stride=2)]),
    "transposed 2d": ((12, 10), [_conv("SparseConvTranspose2d", 3, stride=2)]),
    "inverse": (
        (9, 8, 7),
        [
            _conv("SparseConv3d", 3, stride=2, padding=1, indice_key="down"),
            _conv("SparseInverseConv3d", 3, indice_key="down"),
        ],
    ),
    "inverse 2d": (
        (30, 20),
        [
            _conv("SparseConv2d", 3, stride=2, padding=1, indice_key="down"),
            _conv("SparseInverseConv2d", 3, indice_key="down"),
        ],
    ),
    "max pool": ((9, 8, 7), [_pool("SparseMaxPool3d", 3, stride=2, padding=1)]),
    "max pool, stride None": ((30, 20), [_pool("SparseMaxPool2d", 2)]),
}


def _random_case(seed: int) -> tuple[tuple[int, ...], list[dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    ndim = int(rng.integers(2, 4))
    kind = f"{rng.choice(['SparseConv', 'SparseConvTranspose'])}{ndim}d"

    def draw(low: int, high: int) -> tuple[int, ...]:
        return tuple(map(int, rng.integers(low, high + 1, ndim)))

    kernel = draw(1, 4) if seed % 2 else (3,) * ndim
    dilation = (1,) * ndim if "Transpose" in kind else draw(1, 2)
    padding = tuple(int(rng.integers(0, size)) for size in kernel)
    layer = _conv(kind, kernel, stride=draw(2, 3), padding=padding, dilation=dilation)
    return draw(9, 16), [layer]


CASES |= {f"random {seed}": _random_case(seed) for seed in range(16)}


def _case(seed: int, shape: tuple[int, ...], layers: list[dict[str, Any]]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    cells = [rng.integers(0, size, 90) for size in (2, *shape)]
    coordinates = np.unique(np.stack(cells, axis=1), axis=0).astype(np.int32)
    rng.shuffle(coordinates)
    weighted = []
    for layer in layers:
        torch.manual_seed(seed)
        module = getattr(stub, layer["type"])(*layer["args"], **layer["kwargs"])
        weights = {"weight": module.weight.detach().numpy()} if hasattr(module, "weight") else {}
        weighted.append(layer | weights)
    return {
        "coordinates": coordinates,
        "features": rng.standard_normal((len(coordinates), 4), dtype=np.float32),
        "spatial_shape": list(shape),
        "batch_size": 2,
        "layers": weighted,
    }


def _run(case: dict[str, Any]) -> dict[str, Any]:
    features = torch.from_numpy(case["features"]).requires_grad_()
    indices = torch.from_numpy(case["coordinates"])
    tensor = stub.SparseConvTensor(features, indices, case["spatial_shape"], case["batch_size"])
    torch.manual_seed(0)
    drawn = []
    for layer in case["layers"]:
        module = getattr(stub, layer["type"])(*layer["args"], **layer["kwargs"])
        drawn += [parameter.detach().numpy().copy() for parameter in module.parameters()]
        if "weight" in layer:
            module.weight.data = torch.from_numpy(layer["weight"])
        tensor = module(tensor)
    scale = np.cos(tensor.indices.numpy().sum(axis=1, dtype=np.float64))
    (tensor.features * torch.from_numpy(scale).float()[:, None]).sum().backward()
    assert features.grad is not None
    return {
        "coordinates": tensor.indices.numpy(),
        "spatial_shape": tensor.spatial_shape,
        "features": tensor.features.detach().numpy(),
        "grad_features": features.grad.numpy(),
        "drawn": drawn,
    }


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Any, Any]]:
    cases = {name: _case(i, *case) for i, (name, case) in enumerate(CASES.items())}
    folder = tmp_path_factory.mktemp("oracle")
    (folder / "cases").write_bytes(pickle.dumps(list(cases.values())))
    child = subprocess.run(
        [sys.executable, str(ORACLE), str(folder / "cases"), str(folder / "results")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if child.returncode == 3:
        pytest.skip(f"spconv cannot be imported: {child.stderr.strip()}")
    assert child.returncode == 0, child.stderr
    results = pickle.loads((folder / "results").read_bytes())
    return {
        name: (case, result) for (name, case), result in zip(cases.items(), results, strict=True)
    }


@pytest.mark.parametrize("name", CASES)
def test_equals_spconv(oracle: dict[str, tuple[Any, Any]], name: str) -> None:
    case, expected = oracle[name]

    actual = _run(case)

    ours, theirs = (np.lexsort(r["coordinates"].T[::-1]) for r in (actual, expected))
    assert actual["spatial_shape"] == expected["spatial_shape"]
    np.testing.assert_array_equal(actual["coordinates"][ours], expected["coordinates"][theirs])
    for key, order in (("features", (ours, theirs)), ("grad_features", (slice(None),) * 2)):
        np.testing.assert_allclose(
            actual[key][order[0]], expected[key][order[1]], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", CASES)
def test_a_seed_draws_the_weights_that_it_draws_in_spconv(
    oracle: dict[str, tuple[Any, Any]], name: str
) -> None:
    case, expected = oracle[name]

    drawn = _run(case)["drawn"]

    assert len(drawn) == len(expected["drawn"])
    for ours, theirs in zip(drawn, expected["drawn"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
