"""Logs of several processes, with tracebacks."""

import pytest

from bevdiag.explain.failure import Stack
from bevdiag.explain.log import read_log

OOM = "CUDA out of memory. Tried to allocate {} MiB."
TRACEBACK = """Traceback (most recent call last):
  File "/home/me/OpenPCDet/tools/train.py", line 229, in main
    train_model(
  File "/home/me/OpenPCDet/pcdet/models/backbones_2d/base_bev_backbone.py", line 92, in forward
    x = self.blocks[i](x)
  File "/venv/lib/python3.10/site-packages/torch/nn/modules/container.py", line 215, in forward
    input = module(input)
  File "/venv/lib/python3.10/site-packages/torch/nn/modules/conv.py", line 463, in forward
    return self._conv_forward(input, self.weight, self.bias)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 75.10 GiB.
"""
BACKWARD = """Traceback (most recent call last):
  File "/home/me/OpenPCDet/tools/train_utils/train_utils.py", line 50, in train_one_epoch
    loss.backward()
  File "/venv/lib/python3.10/site-packages/torch/_tensor.py", line 522, in backward
  File "/venv/lib/python3.10/site-packages/torch/autograd/__init__.py", line 266, in backward
RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB
"""


def test_the_last_message_of_each_process_counts() -> None:
    lines = [
        "epoch 1",
        f"[rank0]: {OOM.format('20.00')}",
        f"[rank1]: {OOM.format('30.00')}",
        f"[rank0]: {OOM.format('40.00')}",
    ]
    first, last = read_log("\n".join(lines))
    assert (first.rank, first.line) == ("1", 3)
    assert (last.rank, last.line) == ("0", 4)
    assert last.requested is not None
    assert last.requested.text == "40.00 MiB"


@pytest.mark.parametrize(
    "prefix",
    ["[default3]:", "[rank3]: ", "[default3]:[rank3]: ", "[rank: 3] ", "[1,3]<stderr>:", "3: "],
)
def test_every_launchers_prefix(prefix: str) -> None:
    text = "".join(f"{prefix}{line}\n" for line in TRACEBACK.splitlines())
    (failure,) = read_log(text)
    assert failure.rank == "3"
    assert failure.stack.part == "backbone_2d"


def test_a_traceback_tells_phase_part_and_layer() -> None:
    (failure,) = read_log(TRACEBACK)
    frame = "/home/me/OpenPCDet/pcdet/models/backbones_2d/base_bev_backbone.py:92"
    assert failure.stack == Stack(phase="forward", part="backbone_2d", layer="conv", frame=frame)


def test_a_backward_pass_has_no_layer() -> None:
    (failure,) = read_log(f"{TRACEBACK}\nresumed\n{BACKWARD}")
    assert failure.stack.phase == "backward"
    assert (failure.stack.part, failure.stack.layer) == ("", "")


def test_colours_of_a_terminal_do_not_matter() -> None:
    (failure,) = read_log(f"\x1b[31m{OOM.format('20.00')}\x1b[0m")
    assert failure.requested is not None
