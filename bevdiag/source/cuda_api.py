"""torch.cuda as the repository finds it: one GPU that is always ready.

Every function and class of torch.cuda, torch.accelerator and their like is replaced by one kind of
answer, whatever its name is and in whichever release it came: a function gives what its annotation
promises (no bytes, no stream waited for), a class gives an object on which nothing ever waits.
Below them the functions of the extension module are shut: what would reach the runtime stops the
trace and says where. Around them, what time has done to old code is undone.

These are patches of a process that does nothing else; they are never undone.
"""

import functools
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from bevdiag.source.failures import Remedy, stopped
from bevdiag.source.simulated_gpu import FEATURES, VALUES, is_cuda
from bevdiag.source.state import current
from bevdiag.trace.places import user_place

_HOMES = ("torch.cuda", "torch.accelerator")
_WITHOUT_RUNTIME = ("torch.cuda.amp", "torch.cuda._memory_viz")
"""Python code that asks torch.cuda, and gets its answers from here."""
_KEPT = frozenset({"_get_device_index", "_dummy_type"})
_GATED = ("_cuda_", "_cudart", "_nccl_", "_nvtx", "_accelerator_")
_MEMORY = 1 << 37

reached: list[str] = []
"""Functions of the extension module that were called all the same, see `shut`."""


class Idle:
    """A stream, an event, a graph, a context: nothing waits on it, because nothing runs."""

    cuda_stream = cuda_event = stream_id = device_index = priority = 0
    device = VALUES

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: False if name.startswith("is_") else None

    def query(self) -> bool:
        return True

    def elapsed_time(self, _: object) -> float:
        return 0.0

    def record_event(self, event: Any = None) -> Any:
        return Event() if event is None else event


class Stream(Idle):
    """torch.Stream and torch.cuda.Stream."""


class Event(Idle):
    """torch.Event and torch.cuda.Event."""


_FACTS: dict[str, Any] = {
    "is_available": True,
    "is_initialized": True,
    "device_count": 1,
    "current_accelerator": VALUES,
    "get_device_name": "bevdiag",
    "get_device_capability": (9, 0),
    "get_device_properties": SimpleNamespace(
        name="bevdiag",
        major=9,
        minor=0,
        total_memory=_MEMORY,
        multi_processor_count=132,
        warp_size=32,
    ),
    "get_arch_list": ["sm_90"],
    "is_bf16_supported": True,
    "mem_get_info": (_MEMORY, _MEMORY),
    "get_memory_info": (_MEMORY, _MEMORY),
    "can_device_access_peer": True,
    "get_allocator_backend": "native",
}
"""What differs from nothing where a GPU is present and idle."""

_BY_WORD: dict[str, Callable[[], Any]] = {
    **{kind.__name__: kind for kind in (int, bool, float, str, dict, list, set)},
    "OrderedDict": dict,
    "Mapping": dict,
    "None": lambda: None,
    "NoneType": lambda: None,
    "device": lambda: VALUES,
    "Stream": Stream,
    "Event": Event,
    "Tensor": lambda: torch.zeros(16, dtype=torch.uint8, device="cpu"),
    "Generator": lambda: torch.default_generator,
}


def _replace_runtime() -> None:
    """Put the answers in place of torch.cuda and torch.accelerator, and shut what lies below."""
    # What reaches the driver past Python (autograd counts the devices) finds none there.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.cuda.default_generators = (torch.default_generator,)
    torch.version.cuda = torch.version.cuda or "12.4"
    torch.backends.cuda.is_built = lambda: True
    for home, module in list(sys.modules.items()):
        if not home.startswith(_HOMES) or home.startswith(_WITHOUT_RUNTIME):
            continue
        for name, member in list(vars(module).items()):
            if name not in _KEPT and _touches_runtime(member):
                setattr(module, name, _instead_of(name, member))
    torch.cuda._lazy_init = _refuse_tensor  # C++ calls it before its first CUDA tensor
    torch.Stream, torch.Event = Stream, Event  # type: ignore[misc,assignment]
    for name, kind in (("_StreamBase", Stream), ("_EventBase", Event)):
        base = getattr(getattr(torch, "_streambase", None), name, None)
        if base is not None:  # torch < 2.6 holds the classes to their base
            base.register(kind)
    torch.Generator = _Generator  # type: ignore[misc]
    _stay_on_one_device()
    for name in dir(torch._C):
        if name.startswith(_GATED):
            setattr(torch._C, name, shut(name))


def _touches_runtime(member: Any) -> bool:
    """Whether it is defined in torch.cuda or below, and is no exception."""
    home = getattr(member, "__module__", None) or ""
    is_at_home = home.startswith(_HOMES) and not home.startswith(_WITHOUT_RUNTIME)
    if isinstance(member, type):
        return is_at_home and not issubclass(member, BaseException)
    if inspect.isbuiltin(member):
        return member.__name__.lstrip("_").startswith(("cuda", "graph", "is_in", "exchange")) or (
            home == "torch._C"
        )
    return is_at_home and isinstance(member, (FunctionType, functools._lru_cache_wrapper))


def _instead_of(name: str, member: Any) -> Any:
    if isinstance(member, type):
        known = {"Stream": Stream, "Event": Event}.get(name)
        return known or type(name, (Idle,), {"__module__": member.__module__})
    if name in _FACTS:
        return lambda *_, **__: _FACTS[name]
    give = promised(member)
    return functools.wraps(member)(lambda *_, **__: give())


def promised(function: Any) -> Callable[[], Any]:
    """Return what gives a value of the type that a function's annotation promises."""
    annotations = getattr(function, "__annotations__", {})
    if "return" not in annotations:
        return bool if getattr(function, "__name__", "").startswith("is_") else Idle
    kind = annotations["return"]
    text = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    first = re.match(r"[\w.]+", text)
    word = (first.group() if first else "").rpartition(".")[2]
    if word.lower() == "tuple":
        inner = re.findall(r"int|str|float", text)
        return lambda: tuple({"int": 0, "str": "", "float": 0.0}[part] for part in inner)
    return _BY_WORD.get(word) or _BY_WORD.get(word.lower(), Idle)


def shut(name: str) -> Callable[..., Any]:
    """Stands for a function of the extension module; only questions about a state are answered."""

    def stop(*_: Any, **__: Any) -> Any:
        if name.startswith("_cuda_is"):
            return False
        if name.endswith("getAccelerator"):
            return VALUES
        reached.append(name)
        raise stopped(
            f"torch._C.{name} asks the CUDA runtime, of which a run without a GPU has none",
            Remedy.ON_GPU,
        )

    return stop


def _refuse_tensor() -> None:
    reached.append("_lazy_init")
    raise stopped(
        "a CUDA tensor is made in a way that a run without a GPU cannot follow", Remedy.ON_GPU
    )


class _AnyGenerator(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, torch._C.Generator)


class _Generator(metaclass=_AnyGenerator):
    """torch.Generator, whatever device it is for: the random numbers are the CPU's."""

    def __new__(cls, device: Any = None) -> Any:
        return torch._C.Generator()


def _stay_on_one_device() -> None:
    """Copy between GPUs, of which there is one: `torch.cuda.comm` and nn.parallel's functions."""
    one_device: dict[str, Callable[..., Any]] = {
        "broadcast": lambda tensor, *_, **__: (tensor,),
        "broadcast_coalesced": lambda tensors, *_, **__: (tuple(tensors),),
        "reduce_add": lambda inputs, *_, **__: functools.reduce(torch.add, inputs),
        "reduce_add_coalesced": lambda inputs, *_, **__: tuple(
            functools.reduce(torch.add, same) for same in zip(*inputs, strict=True)
        ),
        "scatter": lambda tensor, *_, **__: (tensor,),
        "gather": lambda tensors, dim=0, *_, **__: torch.cat(list(tensors), dim),
    }
    from torch.nn.parallel import comm

    for module in (comm, getattr(torch.cuda, "comm", comm)):
        for name, function in one_device.items():
            setattr(module, name, function)


# -- around the runtime ----------------------------------------------------------------------------

_KINDS = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool")
_TYPES: dict[str, torch.dtype] = {
    f"{kind}Tensor": getattr(torch, f"{kind}Tensor").dtype for kind in _KINDS
}


class CudaTensorType:
    """torch.cuda.FloatTensor and its like: called with sizes or with data."""

    is_cuda = True

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, *args: Any) -> torch.Tensor:
        """Return an uninitialized tensor of the sizes, or a copy of the data."""
        sizes = args[0] if len(args) == 1 and isinstance(args[0], torch.Size) else args
        if all(isinstance(size, (int, np.integer)) for size in sizes):
            shape = tuple(map(int, sizes))
            if self.dtype.is_floating_point:
                return torch.empty(shape, dtype=self.dtype, device=FEATURES)
            return torch.zeros(shape, dtype=self.dtype, device=VALUES)
        return torch.tensor(args[0], dtype=self.dtype, device=VALUES)

    def __instancecheck__(self, instance: object) -> bool:
        return (
            isinstance(instance, torch.Tensor)
            and instance.dtype is self.dtype
            and current().recorder.is_device(instance)
        )


def pretend() -> None:
    """Make torch.cuda answer as if a GPU were there, and undo what time has done to old code."""
    _replace_runtime()
    for name, dtype in _TYPES.items():
        setattr(torch.cuda, name, CudaTensorType(dtype))
    _replace(torch.Tensor, pin_memory=lambda self, *_: self, is_pinned=lambda *_: False)
    _replace(torch.Tensor, record_stream=lambda *_: None)
    _replace(torch, set_default_tensor_type=_set_default_type)
    _replace(torch.Tensor, set_=_seen_by_modes(torch.Tensor.set_))
    _cast_what_counts_as_cuda()
    _keep_modules_where_they_are()
    restore_old_names()
    _skip_initialization()
    accept_integer_masks(_note_integer_mask)
    run_as_python()


def _replace(owner: Any, **members: Any) -> None:
    for name, member in members.items():
        setattr(owner, name, member)


def _seen_by_modes(plain: Any) -> Any:
    """Have function modes see a method of tensors that PyTorch runs without asking them."""

    @functools.wraps(plain)
    def method(*args: Any, **kwargs: Any) -> Any:
        if torch.overrides.has_torch_function(args[:1]):
            return torch.overrides.handle_torch_function(plain, args[:1], *args, **kwargs)
        return plain(*args, **kwargs)

    return method


def _set_default_type(kind: Any) -> None:
    """torch.set_default_tensor_type, for the type or its name: a dtype and perhaps the GPU."""
    name = kind if isinstance(kind, str) else ""
    on_gpu = name.startswith("torch.cuda.") or isinstance(kind, CudaTensorType)
    dtype = getattr(kind, "dtype", None) or _TYPES[name.rpartition(".")[2]]
    torch.set_default_dtype(dtype)
    torch.set_default_device(VALUES if on_gpu else None)


def _cast_what_counts_as_cuda() -> None:
    """`custom_fwd(cast_inputs=...)` looks at each tensor's device, and would find none of CUDA."""

    def cast(value: Any, *where: Any) -> Any:
        if isinstance(value, torch.Tensor):
            counts = current().recorder.is_device(value)
            narrow = value.is_floating_point() and value.dtype is not torch.float64
            return value.to(where[-1]) if counts and narrow else value
        if isinstance(value, (str, bytes, np.ndarray)):
            return value
        if isinstance(value, dict):
            return {cast(k, *where): cast(v, *where) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(cast(item, *where) for item in value)
        return value

    _replace(torch.amp.autocast_mode, _cast=cast)


def run_as_python() -> None:
    """Nothing is compiled: compiled code would run unseen, and cannot take the stubs."""
    _replace(torch.jit, script=as_it_is)
    _replace(torch, compile=as_it_is)


def as_it_is(*args: Any, **_: Any) -> Any:
    """`@jit` and `@jit(...)`: the function as it is."""
    return args[0] if args and callable(args[0]) else lambda function: function


def _keep_modules_where_they_are() -> None:
    # The whole model moves when its construction is over, as it does in a training script.
    plain_to: Any = nn.Module.to

    def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
        args = tuple(a for a in args if not isinstance(a, (torch.device, str)) and not is_cuda(a))
        kwargs = {k: v for k, v in kwargs.items() if k != "device"}
        moved: nn.Module = plain_to(module, *args, **kwargs) if args or kwargs else module
        return moved

    _replace(nn.Module, cuda=lambda self, *_: self, to=to)


def restore_old_names() -> None:
    """Restore the names that NumPy has dropped: np.int and its like."""
    old = {kind.__name__: kind for kind in (int, float, bool, object, str)}
    for name, meaning in {**old, "long": int}.items():
        if name not in np.__dict__:
            setattr(np, name, meaning)


_is_drawing: list[bool] = []


@contextmanager
def initial_weights() -> Iterator[None]:
    """Inside, `torch.nn.init` draws the weights that a run begins with."""
    _is_drawing.append(True)
    try:
        yield
    finally:
        _is_drawing.pop()


def _skip_initialization() -> None:
    """Weights that lose their values are not drawn: that takes longer than anything else."""

    def skippable(draw: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(draw)
        def instead(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            return draw(tensor, *args, **kwargs) if _is_drawing else tensor

        return instead

    for name, function in list(vars(nn.init).items()):
        if name.endswith("_") and not name.startswith("_") and callable(function):
            setattr(nn.init, name, skippable(function))


def accept_integer_masks(note: Callable[[], None]) -> None:
    """Take 0/1 integers as bool where old code hands them to attention: torch >= 2.0 refuses them.

    `note` is called each time.
    """
    plain = nn.functional._canonical_mask

    def canonical(mask: torch.Tensor | None, *args: Any, **kwargs: Any) -> torch.Tensor | None:
        if mask is not None and mask.dtype is not torch.bool and not mask.is_floating_point():
            note()
            mask = mask.bool()
        return plain(mask, *args, **kwargs)

    nn.functional._canonical_mask = canonical


def _note_integer_mask() -> None:
    current().recorder.notes.append(
        f"{user_place()}: an integer mask was handed to attention and taken as bool"
    )
