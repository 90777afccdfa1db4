"""The GPUs and the cuDNN versions that bevdiag ships."""

import pytest

from bevdiag.errors import InputError
from bevdiag.memory.catalogue import all_gpus, cudnn_of_torch, find_gpu
from bevdiag.memory.device import make_target, parse_cudnn

GIB = 2**30
WANTED = [
    *("t4", "v100-16gb", "v100-32gb", "rtx3060", "rtx3080", "rtx3090", "rtx4080", "rtx4090"),
    *("rtx5090", "a10", "a10g", "l4", "a30", "a40", "a6000", "l40s", "a100-40gb", "a100-80gb"),
    *("h100-80gb", "h200", "b200"),
]


@pytest.mark.parametrize("name", WANTED)
def test_the_catalogue_knows(name):
    gpu = find_gpu(name)
    assert 9 * GIB < gpu.usable_bytes < gpu.total_bytes < 200 * GIB
    assert (7, 0) <= gpu.compute_capability <= (12, 0)
    assert gpu.total_source


def test_names_and_aliases_are_unique():
    names = [name for gpu in all_gpus() for name in (gpu.name, *gpu.aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("A100-80GB", "a100-80gb"),
        ("rtx 4090", "rtx4090"),
        ("NVIDIA GeForce RTX 3090", "rtx3090"),
        ("Tesla_T4", "t4"),
    ],
)
def test_spelling_does_not_matter(written, name):
    assert find_gpu(written).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("GTX 1080 Ti", "RTX 2080 Ti", "TITAN V", "TITAN Xp", "TITAN RTX", "RTX 3060 Ti"),
        *("RTX 3070", "RTX 3080 Ti", "rtx3080-12gb", "RTX 3090 Ti", "RTX 4060", "rtx4060ti-16gb"),
        *("RTX 4070", "RTX 4070 Ti", "RTX 4070 Super", "RTX 4070 Ti Super", "RTX 4080 Super"),
        *("rtx5060ti-16gb", "RTX 5070 Ti", "RTX 5080", "a2000-12gb", "RTX A4000", "RTX A4500"),
        *("RTX A5000", "A16", "A800", "H800", "H20", "H100 PCIe", "H100 NVL", "GH200", "L40"),
        *("NVIDIA RTX 6000 Ada", "RTX PRO 6000", "orin-64gb", "Thor"),
    ],
)
def test_cards_that_people_train_on_are_known_with_a_source(name):
    gpu = find_gpu(name)
    assert 4 * GIB < gpu.usable_bytes < gpu.total_bytes
    assert gpu.total_source.startswith(("reported: ", "measured: ", "assumption: "))


@pytest.mark.parametrize("name", ["MI300X", "AMD Instinct MI250", "RX 7900 XTX", "Gaudi2"])
def test_a_gpu_of_another_maker_is_refused_with_the_reason(name):
    with pytest.raises(InputError, match=r"none of NVIDIA's.*--budget SIZE"):
        find_gpu(name)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("RTX 4090 D", "rtx4090"), ("rtx 3070 ti", "rtx3070"), ("A4500 laptop", "a4500")],
)
def test_an_unknown_gpu_is_answered_by_its_number_and_with_the_budget(name, nearest):
    with pytest.raises(InputError, match=rf"did you mean {nearest}.*--budget SIZE"):
        find_gpu(name)


def test_an_unknown_gpu_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"'rtx4091'.*rtx4090"):
        find_gpu("rtx4091")
    with pytest.raises(InputError, match="bevdiag gpus lists"):
        find_gpu("quantum")


@pytest.mark.parametrize(
    ("torch", "cudnn", "is_known"),
    [
        ("2.13.0", "9.20.0", True),
        ("2.13.0+cpu", "9.20.0", True),
        ("2.13.1", "9.20.0", True),
        ("2.6.0", "9.1.0", True),
        ("2.9.0", "9.10.2", True),
        ("2.14.0.dev20261101", "9.20.0", False),
        ("1.13.1", "8.5.0", True),
        ("1.12.0", "8.5.0", False),
        ("nightly", "9.20.0", False),
    ],
)
def test_torch_tells_its_cudnn(torch, cudnn, is_known):
    assert cudnn_of_torch(torch) == (cudnn, is_known)


@pytest.mark.parametrize(
    ("text", "version"),
    [("9.1", (9, 1, 0)), ("9.10.2", (9, 10, 2)), ("91002", (9, 10, 2)), ("8902", (8, 9, 2))],
)
def test_a_cudnn_version_is_read(text, version):
    assert parse_cudnn(text) == version


@pytest.mark.parametrize("text", ["", "nine", "9..1", "9.1.0.0.0", "-9", "9" * 50])
def test_a_wrong_cudnn_version_is_refused(text):
    with pytest.raises(InputError, match="cuDNN"):
        parse_cudnn(text)


def test_a_budget_caps_a_gpu():
    free = make_target(torch="2.13.0", gpu="h200")
    capped = make_target(torch="2.13.0", gpu="h200", budget_bytes=22 * GIB)
    assert free.capacity_bytes == free.total_bytes - free.context_bytes
    assert not free.is_capped
    assert (capped.capacity_bytes, capped.is_capped) == (22 * GIB, True)
    assert capped.total_bytes == free.total_bytes
    large = make_target(torch="2.13.0", gpu="t4", budget_bytes=100 * GIB)
    assert large.capacity_bytes < 15 * GIB
    assert not large.is_capped


def test_without_a_gpu_there_is_no_limit_but_a_budget():
    assert make_target(torch="2.13.0").capacity_bytes is None
    alone = make_target(torch="2.13.0", budget_bytes=GIB, cudnn="9.1")
    assert (alone.capacity_bytes, alone.cudnn) == (GIB, (9, 1, 0))
