"""What a message says without a model."""

import pytest

from bevdiag.explain.decode import asks_for, cause_of, decode
from bevdiag.explain.messages import parse_figure, read_log

MIB = 2**20


def _decoded(text: str) -> str:
    (failure,) = read_log(text)
    return " ".join(decode(failure))


def _message(requested: str, *, free: str, allocated: str, unallocated: str) -> str:
    return (
        f"CUDA out of memory. Tried to allocate {requested}. GPU 0 has a total capacity of 23.69 "
        f"GiB of which {free} is free. Including non-PyTorch memory, this process has 1.00 GiB "
        f"memory in use. Of the allocated memory {allocated} is allocated by PyTorch, and "
        f"{unallocated} is reserved by PyTorch but unallocated."
    )


@pytest.mark.parametrize(
    ("nbytes", "figure"),
    [
        (1, "2.00 MiB"),
        (MIB, "2.00 MiB"),
        (MIB + 1, "20.00 MiB"),
        (10 * MIB - 512, "20.00 MiB"),
        (10 * MIB, "10.00 MiB"),
        (137 * MIB, "138.00 MiB"),
        (80_640_000_000, "75.10 GiB"),
        (13_107_200, "12.50 MiB"),
    ],
)
def test_a_request_prints_as_its_segment(nbytes: int, figure: str) -> None:
    assert asks_for(nbytes, parse_figure(figure))


@pytest.mark.parametrize(
    ("nbytes", "figure"), [(MIB, "20.00 MiB"), (12 * MIB + 1, "12.00 MiB"), (10**9, "75.10 GiB")]
)
def test_another_request_does_not(nbytes: int, figure: str) -> None:
    assert not asks_for(nbytes, parse_figure(figure))


def test_a_segment_says_how_large_the_tensor_is() -> None:
    assert "1,048,576 bytes or less" in _decoded("CUDA out of memory. Tried to allocate 2.00 MiB")
    assert "below 10.00 MiB" in _decoded("CUDA out of memory. Tried to allocate 20.00 MiB")
    text = _decoded("CUDA out of memory. Tried to allocate 138.00 MiB")
    assert f"{136 * MIB + 1:,} to {138 * MIB:,} bytes" in text
    assert "before 1.1" in _decoded("CUDA out of memory. Tried to allocate 12.50 MiB")


def test_fragmentation_is_to_blame_or_not() -> None:
    blamed = _message("2.00 GiB", free="0 bytes", allocated="9.00 GiB", unallocated="3.00 GiB")
    assert "Fragmentation is to blame: 3.00 GiB" in _decoded(blamed)
    partly = _message("4.00 GiB", free="2.00 GiB", allocated="9.00 GiB", unallocated="3.00 GiB")
    assert "Fragmentation is partly to blame" in _decoded(partly)
    cleared = _message("6.00 GiB", free="2.00 GiB", allocated="9.00 GiB", unallocated="3.00 GiB")
    assert "not to blame" in _decoded(cleared)
    assert "1024.00 MiB would still lack" in _decoded(cleared)


def test_memory_that_others_hold_is_seen() -> None:
    text = _message("2.00 GiB", free="1.00 GiB", allocated="0.50 GiB", unallocated="0.10 GiB")
    assert "Others hold 21.69 GiB of the same GPU." in _decoded(text)


def test_a_limit_is_named() -> None:
    text = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139.80 GiB "
        "of which 130.00 GiB is free. 8.00 GiB allowed; Of the allocated memory 7.00 GiB is "
        "allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated."
    )
    assert "A limit of 8.00 GiB was set" in _decoded(text)
    assert "1024.00 MiB would still lack" in _decoded(text)


SQUEEZED = {
    "before 1.4": "(GPU 0; 7.80 GiB total capacity; 40.10 MiB already allocated; 30.00 MiB free; "
    "5.90 MiB cached)",
    "1.4": "(GPU 0; 7.80 GiB total capacity; 40.10 MiB already allocated; 30.00 MiB free; "
    "46.00 MiB reserved in total by PyTorch)",
    "1.11": "(GPU 0; 7.80 GiB total capacity; 40.10 MiB already allocated; 30.00 MiB free; "
    "46.00 MiB reserved in total by PyTorch) If reserved memory is >> allocated memory try setting "
    "max_split_size_mb to avoid fragmentation.",
    "2.1": ". GPU 0 has a total capacty of 7.80 GiB of which 30.00 MiB is free. Including "
    "non-PyTorch memory, this process has 512.00 MiB memory in use. Of the allocated memory "
    "40.10 MiB is allocated by PyTorch, and 5.90 MiB is reserved by PyTorch but unallocated.",
    "2.5": ". GPU 0 has a total capacity of 7.80 GiB of which 30.00 MiB is free. Process 7 has "
    "7.20 GiB memory in use. Including non-PyTorch memory, this process has 512.00 MiB memory in "
    "use. Of the allocated memory 40.10 MiB is allocated by PyTorch, and 5.90 MiB is reserved by "
    "PyTorch but unallocated.",
    # In a container, where the process is not known to the driver.
    "2.2": ". GPU 0 has a total capacity of 7.80 GiB of which 30.00 MiB is free. Including "
    "non-PyTorch memory, this process has 17179869184.00 GiB memory in use. Of the allocated "
    "memory 40.10 MiB is allocated by PyTorch, and 5.90 MiB is reserved by PyTorch but "
    "unallocated.",
    "2.6": ". GPU 0 has a total capacity of 7.80 GiB of which 30.00 MiB is free. Including "
    "non-PyTorch memory, this process has 0 bytes memory in use. Of the allocated memory 40.10 MiB "
    "is allocated by PyTorch, and 5.90 MiB is reserved by PyTorch but unallocated.",
    # What the process had cached would have done, but others hold nearly all.
    "1.13": "(GPU 0; 7.80 GiB total capacity; 10.00 MiB already allocated; 30.00 MiB free; "
    "46.00 MiB reserved in total by PyTorch)",
}


@pytest.mark.parametrize("age", SQUEEZED)
def test_a_gpu_that_others_fill_is_the_headline_in_every_generation(age: str) -> None:
    (failure,) = read_log(f"CUDA out of memory. Tried to allocate 32.00 MiB {SQUEEZED[age]}")
    assert cause_of(failure).startswith("Something else holds the memory")
    assert "7.7" in cause_of(failure) or "7.27" in cause_of(failure)
    assert "to blame" not in " ".join(decode(failure))


def test_a_process_that_fills_its_gpu_itself_blames_nobody() -> None:
    own = "(GPU 0; 7.80 GiB total capacity; 6.10 GiB already allocated; 30.00 MiB free; "
    (failure,) = read_log(
        f"CUDA out of memory. Tried to allocate 32.00 MiB {own}7.00 GiB reserved in total by "
        "PyTorch)"
    )
    assert "Something else" not in cause_of(failure)
    assert cause_of(failure).startswith("Fragmentation is to blame")


@pytest.mark.parametrize(
    ("figures", "advice"),
    [
        ("(GPU 0; 9.80 GiB total capacity; 6.00 GiB already allocated; 30.00 MiB free; 3.00 GiB "
         "cached)", "before 1.4"),
        ("(GPU 0; 9.80 GiB total capacity; 6.00 GiB already allocated; 30.00 MiB free; 9.00 GiB "
         "reserved in total by PyTorch)", "PYTORCH_CUDA_ALLOC_CONF=max_split_size_mb:128"),
        (". GPU 0 has a total capacity of 9.80 GiB of which 30.00 MiB is free. Including "
         "non-PyTorch memory, this process has 9.60 GiB memory in use. Of the allocated memory "
         "6.00 GiB is allocated by PyTorch, and 3.00 GiB is reserved by PyTorch but unallocated. "
         "try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True",
         "(PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True)"),
        (". GPU 0 has a total capacity of 9.80 GiB of which 30.00 MiB is free. Including "
         "non-PyTorch memory, this process has 9.60 GiB memory in use. Of the allocated memory "
         "6.00 GiB is allocated by PyTorch, and 3.00 GiB is reserved by PyTorch but unallocated. "
         "try setting PYTORCH_ALLOC_CONF=expandable_segments:True",
         "(PYTORCH_ALLOC_CONF=expandable_segments:True)"),
    ],
)  # fmt: skip
def test_the_remedy_is_one_that_the_torch_of_the_message_reads(figures: str, advice: str) -> None:
    text = _decoded(f"CUDA out of memory. Tried to allocate 2.00 GiB {figures}")
    assert "Fragmentation is to blame" in text
    assert advice in text


def test_the_setting_is_named_as_the_message_names_it() -> None:
    text = (
        "HIP out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total capacity of 15.98 GiB "
        "of which 0 bytes is free. Of the allocated memory 13.02 GiB is allocated by PyTorch, and "
        "1.67 GiB is reserved by PyTorch but unallocated. If reserved but unallocated memory is "
        "large try setting PYTORCH_HIP_ALLOC_CONF=expandable_segments:True"
    )
    assert "PYTORCH_HIP_ALLOC_CONF=expandable_segments:True" in cause_of(read_log(text)[-1])
