"""Recognise the messages of PyTorch and its libraries, of every age, in texts and logs.

Messages are taken apart after their lines were joined, since terminals and people wrap them. Each
belongs to a process and comes with its traceback.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from math import ceil, floor
from typing import Any

from bevdiag.explain.answer import PREDICTABLE, Failure, FailureKind, Figure, OtherProcess, Stack
from bevdiag.rules.pages import Signature, codes_for, last_match, signature

_UNIT_BYTES = {"bytes": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
# Every repeat is bounded: a log may be anything, and takes no longer for that.
_SIZE = r"\d{1,15}(?:\.\d{0,6})?\s*(?:bytes|[KMGT]iB|B\b)"
_MAX_MESSAGE = 2000
"""Characters that belong to a message at most; the advice at its end is of no use here."""


_MAX_LINE = 200
"""Characters of a line that are quoted before and behind what was recognised in it."""


def _pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern in which a blank is any white space and SIZE a captured size."""
    return re.compile(text.replace("SIZE", f"({_SIZE})").replace(" ", r"\s+"))


_HEADS = {
    FailureKind.ALLOCATOR: r"(?:CUDA|HIP|XPU) out of memory\. Tried to allocate SIZE"
    # torch 0.4 and older name the line of their allocator, and no figure.
    r"|(?:cuda runtime error \(2\) ?:|CUDA error:) out of memory (?:\(malloc )?at "
    r"\S{0,120}(?:THCStorage|THCCachingAllocator|CUDACachingAllocator|THCTensor)\w{0,20}",
    FailureKind.ASYNC_ALLOCATOR: r"Allocation on device \d+ would exceed allowed memory",
    FailureKind.CUBLAS: r"CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)(?: when calling \S+)?",
    FailureKind.CUDNN: r"CUDNN_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)",
    FailureKind.NO_ENGINE: r"(?:GET|FIND) was unable to find an engine to execute this computation",
    FailureKind.NCCL: r"Failed to (?:CUDA|Cuda) \w{0,40}alloc\w{0,40}(?: async)? (\d{1,15} bytes)"
    r"|Cuda failure (?:\d+ )?'out of memory'",
    FailureKind.SPCONV: r"cuda (?:execution )?failed with error (?:code )?2\b",
    FailureKind.NO_VOXEL: r"N > 0 assert fail\w{0,4}",
    FailureKind.DRIVER: r"CUDA (?:driver )?error: out of memory|GPUassert: out of memory"
    r"|cuda runtime error \(2\) ?: out of memory|cudaErrorMemoryAllocation"
    r"|CUDA_ERROR_OUT_OF_MEMORY",
    FailureKind.HOST: r"DefaultCPUAllocator: (?:can't allocate memory|not enough memory): you "
    r"tried to allocate (\d{1,15} bytes)|Torch: not enough memory"
    r"|unable to mmap (\d{1,15} bytes) from|Unable to allocate SIZE for an array"
    r"|Unable to allocate array with shape|\[Errno 12\] Cannot allocate memory|std::bad_alloc",
    FailureKind.SHARED_MEMORY: r"unable to write to file </torch_|insufficient shared memory"
    r"|\(shm\)|unable to open shared memory object|No space left on device: '/dev/shm"
    r"|No such file or directory: '?(?:shm://|/dev/shm)",
    FailureKind.WORKER: r"DataLoader worker \(pid[^)]{0,40}\) is killed by signal: "
    r"(?:Killed|Bus error)",
}
_MEMORY = tuple((kind, _pattern(text)) for kind, text in _HEADS.items())
"""A group is the size that was asked for."""

_BARE_HEADS = (
    (FailureKind.SHARED_MEMORY, re.compile(r"\bbus error\b|\bSIGBUS\b", re.IGNORECASE)),
    (FailureKind.HOST, re.compile(r"^\s{0,8}MemoryError\b", re.MULTILINE)),
    (
        FailureKind.KILLED,
        re.compile(
            r"^(?:\S{1,80}: line \d{1,9}: +\d{1,9} )?Killed\b|\boom-kill|\bSIGKILL\b"
            r"|Out of memory: Kill(?:ed)? process|exit ?code ?:? ?(?:137|-9)\b",
            re.MULTILINE,
        ),
    ),
)
"""What ends a process without a reason; it counts where nothing else was printed."""

_TEXTS: dict[FailureKind, tuple[str, ...]] = {
    FailureKind.INDEX: (
        "index # is out of bounds for dimension # with size #",
        "index -# is out of bounds for dimension # with size #",
        "index # is out of bounds for axis # with size #",
        "index out of range in self",
        "device-side assert triggered",
        'Assertion `...index out of bounds"` failed',
        "Assertion `srcIndex < srcSelectDimSize` failed",
        "Assertion `t >= 0 && t < n_classes` failed",
        "Class values must be smaller than num_classes",
    ),
    FailureKind.CLASS_NAME: (
        "class_names.index(... ValueError: '...' is not in list",
        "class_names.index(... ... ValueError: '...' is not in list",
    ),
    FailureKind.NAN: (
        "loss is nan",
        "loss: nan",
        "returned nan values in its",
        "matrix contains invalid numeric entries",
        "cannot convert float NaN to integer",
        "Assertion `input_val >= zero && input_val <= one` failed",
        "all elements of input should be between 0 and 1",
        "contains NaN",
    ),
    FailureKind.FEATURES: (
        "mat1 and mat2 shapes cannot be multiplied (in vfe)",
        "mat1 dim 1 must match mat2 dim 0 (in vfe)",
        "size mismatch, m1: [# x #], m2: [# x #] (in vfe)",
    ),
    FailureKind.CUDNN_OTHER: (
        "CUDNN_STATUS_EXECUTION_FAILED",
        "CUDNN_STATUS_INTERNAL_ERROR",
        "CUDNN_STATUS_MAPPING_ERROR",
        "CUBLAS_STATUS_EXECUTION_FAILED",
        "CUBLAS_STATUS_INTERNAL_ERROR",
        "unspecified launch failure",
    ),
    FailureKind.CUDNN_INPUT: (
        "CUDNN_STATUS_NOT_SUPPORTED",
        "CUDNN_STATUS_BAD_PARAM",
        "No execution plans support the graph",
        "CUDA error: invalid configuration argument",
        "only supports output tensors with less than INT_MAX elements",
        "is not supported for tensors with more than INT_MAX elements",
    ),
    FailureKind.CUDNN_VERSION: (
        "cuDNN version incompatibility",
        "libcudnn... version mismatch",
        "Unable to load any of {libcudnn",
    ),
    FailureKind.GPU: (
        "No CUDA GPUs are available",
        "Driver/library version mismatch",
        "system not yet initialized",
        "invalid device ordinal",
        "devices are busy or unavailable",
        "uncorrectable ECC error",
        "CUDA unknown error",
        "GPU has fallen off the bus",
        "Unable to determine the device handle for GPU",
        "nvidia-smi has failed because it couldn't communicate",
    ),
    FailureKind.CHECKPOINT: (
        "Error(s) in loading state_dict",
        "copying a param with shape",
    ),
    FailureKind.COLLATE: (
        "stack expects each tensor to be equal size",
        "all input arrays must have the same shape",
        "Trying to resize storage that is not resizable",
    ),
    FailureKind.CONFIG_KEY: ("'EasyDict' object has no attribute '...'",),
    FailureKind.ONE_SAMPLE: ("Expected more than 1 value per channel when training",),
    FailureKind.NUMPY: (
        "module 'numpy' has no attribute '...'",
        "module `numpy` has no attribute `...`",
    ),
    FailureKind.LIBRARY: (
        "version `GLIBC...' not found",
        "version `CXXABI...' not found",
    ),
    FailureKind.DESCRIPTORS: (
        "received # items of ancdata",
        "[Errno 24] Too many open files",
        "Too many open files",
    ),
}
"""Failures that no rule can look for: the cause is in the labels, the values, another process, the
machine or a checkpoint. Texts are as on the rules' pages: # is a number, ... anything short, and
"(in vfe)" the part of the detector whose code says so."""

_LATER_TEXTS: dict[FailureKind, tuple[str, ...]] = {
    FailureKind.NCCL_OTHER: (
        "NCCL error",
        "ncclUnhandledCudaError",
        "ncclSystemError",
        "ncclInternalError",
        "ncclRemoteError",
        "Duplicate GPU detected",
        "Watchdog caught collective operation timeout",
        "Timed out waiting",
        "Connection closed by",
        "Connection reset by peer",
        "Socket Timeout",
    ),
    FailureKind.WORKER_ENDED: (
        "DataLoader worker (pid(s) ...) exited unexpectedly",
        "DataLoader worker (pid ...) is killed by signal: ...",
        "DataLoader worker (pid(s) ...) is killed by signal: ...",
    ),
}
"""What follows from another process's failure; it counts where that is not seen."""

_DEVICE = _pattern(r"GPU (\d{1,4})(?: has a total|;)|on device (\d{1,4})")
_PARTS = {
    name: tuple(map(_pattern, texts))
    for name, texts in {
        "total": (r"total capaci?ty of SIZE", r"SIZE total capacity", r"Device limit : SIZE"),
        "free": (r"of which SIZE is free", r"SIZE free;", r"Free \(according to CUDA\): SIZE"),
        "in_use": (r"this process has SIZE memory in use",),
        "allowed": (r"SIZE allowed;",),
        "allocated": (
            r"Of the allocated memory SIZE is allocated by PyTorch",
            r"SIZE already allocated",
            r"Currently allocated : SIZE",
        ),
        "unallocated": (r"and SIZE is reserved by PyTorch but unallocated", r"SIZE cached\)"),
        "reserved": (r"SIZE reserved in total by PyTorch",),
        "requested": (r"Requested : SIZE",),
    }.items()
}
_OTHER = _pattern(r"Process (\d{1,15}) has SIZE memory in use")
_ADVICE = re.compile(r"PYTORCH_(?:CUDA_)?ALLOC_CONF=expandable_segments:True|max_split_size_mb")


def parse_figure(text: str) -> Figure:
    """Parse a printed size; one with decimals stands for all that round to it."""
    number, unit = re.fullmatch(r"([\d.]+)\s*(\w+)", text.strip()).groups()  # type: ignore[union-attr]
    scale = _UNIT_BYTES[unit]
    decimals = len(number.partition(".")[2])
    # NumPy prints three digits and keeps the point: 122. is a rounded figure, 512 is an exact one.
    half = Decimal(5).scaleb(-decimals - 1) if "." in number else Decimal(0)
    value = Decimal(number)
    return Figure(
        text=" ".join(text.split()),
        low_bytes=ceil((value - half) * scale),
        high_bytes=floor((value + half) * scale),
    )


def last_failure(text: str, line_of: list[int], rank: str) -> Failure | None:
    """Return the last failure in the joined lines of one process.

    Args:
        text: the lines, joined by newlines.
        line_of: each joined line's number in the original text.
        rank: the process.
    """
    match, kind = _last((*_MEMORY, *heads(later=False)), text)
    fault = last_match(text)
    if fault is not None and (match is None or _place(match.span()) < _place(fault)):
        return _quoted(FailureKind.FAULT, text, fault, line_of, rank)
    for later in (_BARE_HEADS, heads(later=True)):
        if match is None:
            match, kind = _last(later, text)
    if match is None:
        return None
    if kind in _TEXTS or kind in _LATER_TEXTS:
        return _quoted(kind, text, match.span(), line_of, rank)
    body = text[match.start() : match.start() + _MAX_MESSAGE]
    return _failure(match, kind, body, line_of[text.count("\n", 0, match.start())], rank)


def _place(span: tuple[int, int]) -> tuple[int, int]:
    """Sorts the last one last, and of those that end alike the longest."""
    return span[1], -span[0]


def _quoted(
    kind: FailureKind, text: str, span: tuple[int, int], line_of: list[int], rank: str
) -> Failure:
    """Return a failure without figures: its whole line, as far as that is no novel."""
    start = text.rfind("\n", 0, span[0]) + 1
    end = text.find("\n", span[1])
    end = min(len(text) if end < 0 else end, span[1] + _MAX_LINE)
    sentence = " ".join(text[max(start, span[0] - _MAX_LINE) : end].split())
    line = line_of[text.count("\n", 0, span[1])]
    return Failure(kind=kind, sentence=sentence, line=line, rank=rank)


def _last(
    heads: Iterable[tuple[FailureKind, "re.Pattern[str] | Signature"]], text: str
) -> tuple[re.Match[str] | None, FailureKind]:
    found = [(match, kind) for kind, pattern in heads for match in pattern.finditer(text)]
    return max(found, key=lambda item: _place(item[0].span()), default=(None, FailureKind.FAULT))


def _failure(match: re.Match[str], kind: FailureKind, body: str, line: int, rank: str) -> Failure:
    # What a library says is the head alone; only allocators go on with figures.
    parts = _PARTS if kind in PREDICTABLE else {}
    sizes: dict[str, Any] = {name: _first(patterns, body) for name, patterns in parts.items()}
    if match.lastindex:
        sizes["requested"] = parse_figure(match[match.lastindex])
    device = _DEVICE.search(body)
    advice = _ADVICE.search(body)
    return Failure(
        kind=kind,
        sentence=" ".join(match[0].split()),
        line=line,
        rank=rank,
        device=int(device[1] or device[2]) if device else None,
        advises=advice[0] if advice else "",
        others=tuple(
            OtherProcess(int(pid), parse_figure(size)) for pid, size in _OTHER.findall(body)
        ),
        **sizes,
    )


def _first(patterns: tuple[re.Pattern[str], ...], body: str) -> Figure | None:
    matches = (pattern.search(body) for pattern in patterns)
    return next((parse_figure(match[1]) for match in matches if match), None)


_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_PREFIXES = (
    re.compile(r"\[(?:default|rank):?\s?(\d+)\]:?\s?"),  # torchrun, torch's own hook, lightning
    re.compile(r"\[\d+,(\d+)\]<std(?:out|err)>:\s?"),  # mpirun --tag-output
    re.compile(r"(\d+): "),  # srun --label
)
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)')
_FOLDERS = re.compile(r"models/((?:\w+/){1,4})[^/]+\.py$")
_OWN = re.compile(r"(?:^|/)torch/")
_LAYER = re.compile(r"torch/nn/modules/(?!module\.py|container\.py)(\w+)\.py$")
_CHILDREN = {
    "backbones_2d": "backbone_2d",
    "backbones_3d": "backbone_3d",
    "dense_heads": "dense_head",
    "fuser": "fuser",
    "map_to_bev": "map_to_bev_module",
    "pfe": "pfe",
    "roi_heads": "roi_head",
    "vfe": "vfe",
}
"""OpenPCDet's folders of models, and the attribute of the detector that each becomes."""


def read_log(text: str) -> tuple[Failure, ...]:
    """Return the last failure of each process, in the order of the text; the last is the log's."""
    streams: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, raw in enumerate(_ESCAPE.sub("", text).splitlines(), start=1):
        rank, line = _split(raw)
        if line:
            streams[rank].append((number, line))
    last = [_last_of(rank, lines) for rank, lines in streams.items()]
    found = [failure for failure in last if failure is not None]
    return tuple(sorted(found, key=lambda failure: failure.line))


def _split(line: str) -> tuple[str, str]:
    """Split off the rank and the prefixes of a line: torchrun puts its own before torch's."""
    rank = ""
    for pattern in _PREFIXES:
        while match := pattern.match(line):
            rank, line = rank or match[1], line[match.end() :]
            if pattern is _PREFIXES[-1]:
                break
    return rank, line


def _last_of(rank: str, lines: list[tuple[int, str]]) -> Failure | None:
    numbers = [number for number, _ in lines]
    failure = last_failure("\n".join(line for _, line in lines), numbers, rank)
    if failure is None:
        return None
    before = [line for number, line in lines if number <= failure.line]
    stack = _stack(before)
    if failure.kind not in (FailureKind.FAULT, *_TEXTS, *_LATER_TEXTS):
        return replace(failure, stack=stack)
    codes = codes_for(failure.sentence, stack.part)
    kind = failure.kind if codes else kind_in(failure.sentence, stack.part) or failure.kind
    return replace(failure, kind=kind, stack=stack, codes=codes)


def _stack(lines: list[str]) -> Stack:
    """Read what the traceback that ends in the last line says."""
    start = max(
        (i for i, line in enumerate(lines) if line.lstrip().startswith("Traceback (most recent")),
        default=None,
    )
    frames = [] if start is None else _FRAME.findall("\n".join(lines[start:]))
    part = layer = frame = phase = ""
    for file, line, function in frames:
        path = file.replace("\\", "/")
        if match := _FOLDERS.search(path):
            known = [_CHILDREN[folder] for folder in match[1].split("/") if folder in _CHILDREN]
            part = known[-1] if known else part
        if match := _LAYER.search(path):
            layer = match[1]
        elif not _OWN.search(path):
            layer, frame = "", f"{path}:{line}"
        phase = _phase(path, function) or phase
    return Stack(phase=phase, part=part, layer=layer, frame=frame)


def _phase(path: str, function: str) -> str:
    if path.endswith(("torch/_tensor.py", "torch/autograd/__init__.py")) and function == "backward":
        return "backward"
    if "torch/optim/" in path or path.endswith("torch/nn/utils/clip_grad.py"):
        return "optimizer"
    # A checkpoint runs forward functions inside the backward pass; the outer frame came first.
    return "forward" if function == "forward" else ""


def heads(*, later: bool) -> tuple[tuple[FailureKind, Signature], ...]:
    """Return the texts that count whatever part printed them, in one list or the other."""
    return tuple((kind, one) for kind, one in _signatures(later=later) if not one.part)


def kind_in(text: str, part: str) -> FailureKind | None:
    """Return what the text is where that part of the detector printed it; None if nothing."""
    known = (
        kind
        for kind, one in _signatures(later=False)
        if part and one.part == part and one.pattern.search(text)
    )
    return next(known, None)


@cache
def _signatures(*, later: bool) -> tuple[tuple[FailureKind, Signature], ...]:
    table = _LATER_TEXTS if later else _TEXTS
    return tuple((kind, signature("", text)) for kind, texts in table.items() for text in texts)
