import json
import subprocess
import sys

import pytest

_CALL_EVERYTHING = """
import json, torch
from bevdiag.source import cuda_api
cuda_api.pretend()
ARGUMENTS = ((), (0,), ("x",), (0, 0), ([torch.zeros(2)],), ([[torch.zeros(2)]],),
             (torch.zeros(2), 0), (torch.zeros(2),))
called, failed = [], []
for home in (torch.cuda, torch.cuda.memory, torch.cuda.random, torch.cuda.nvtx, torch.cuda.graphs,
             torch.cuda.streams, torch.cuda.nccl, torch.cuda.profiler,
             torch.nn.parallel.comm,
             getattr(torch, "accelerator", torch.cuda)):
    for name, member in list(vars(home).items()):
        ours = (getattr(member, "__module__", None) or "").startswith(
            ("torch.cuda", "torch.accelerator", "bevdiag"))
        if not callable(member) or not ours or name.startswith("_lazy"):
            continue
        if isinstance(member, cuda_api.CudaTensorType):
            continue
        if isinstance(member, type) and issubclass(member, BaseException):
            continue
        for arguments in ARGUMENTS:
            try:
                member(*arguments)
            except (TypeError, ValueError, IndexError, AttributeError) as error:
                why = f"{type(error).__name__}: {error}"
                if "torch._C" in why or "CUDA" in why:
                    failed.append(f"{home.__name__}.{name}: {why}")
                continue
            except BaseException as error:
                failed.append(f"{home.__name__}.{name}: {type(error).__name__}: {error}")
            called.append(f"{home.__name__}.{name}")
            break
print(json.dumps([sorted(set(called)), failed, cuda_api.reached]))
"""

_LIKE_CODE = """
import os, torch
from bevdiag.source import cuda_api
cuda_api.pretend()
with torch.cuda.stream(torch.cuda.Stream()) as stream, torch.cuda.device(0):
    torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
    assert isinstance(torch.cuda.current_stream(), torch.cuda.Stream)
start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
start.record(); end.record(); torch.cuda.synchronize()
assert start.elapsed_time(end) == 0.0 and start.query()
with torch.cuda.nvtx.range("x"):
    torch.cuda.nvtx.range_push("y")
free, total = torch.cuda.mem_get_info()
assert 0 < free <= total and torch.cuda.memory_allocated() == 0
assert torch.cuda.get_device_properties(0).total_memory == total
assert torch.cuda.is_available() and torch.backends.cuda.is_built() and torch.version.cuda
assert not torch.cuda.is_current_stream_capturing()
assert torch.cuda.memory_stats() == {} and isinstance(torch.cuda.memory_summary(), str)
assert torch.cuda.Stream().record_event().query()
parameter = torch.nn.Parameter(torch.zeros(2))
parameter.grad = torch.ones(2)
torch.optim.AdamW([parameter]).step()
assert isinstance(torch.Generator("cuda").manual_seed(1), torch.Generator)
scaler = torch.cuda.amp.GradScaler()
assert os.environ["CUDA_VISIBLE_DEVICES"] == ""
try:
    torch._C._cuda_init()
except Exception as error:
    assert "asks the CUDA runtime" in str(error) or isinstance(error, AttributeError), error
assert set(cuda_api.reached) <= {"_cuda_init"}, cuda_api.reached
print("fine")
"""


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def everything() -> tuple[list[str], list[str], list[str]]:
    called, failed, reached = json.loads(_run(_CALL_EVERYTHING))
    return called, failed, reached


def test_no_member_of_torch_cuda_reaches_the_runtime(
    everything: tuple[list[str], list[str], list[str]],
) -> None:
    called, failed, reached = everything
    assert reached == []
    assert failed == []
    assert len(called) > 200


def test_code_for_a_gpu_finds_one_that_never_makes_it_wait() -> None:
    assert _run(_LIKE_CODE) == "fine"
