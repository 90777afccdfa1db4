"""Recognise the messages of PyTorch and its libraries, of every age, in texts and logs.

Messages are taken apart after their lines were joined, since terminals and people wrap them. Each
belongs to a process and comes with its traceback.
"""

import re
from collections import defaultdict
from decimal import Decimal
from functools import cache
from math import ceil, floor
from typing import Any

from bevdiag.explain.answer import Failure, Figure, OtherProcess, Stack
from bevdiag.explain.kinds import FAULT, Kind, kinds, size_pattern
from bevdiag.rules.pages import Signature, codes_for, signatures

_UNIT_BYTES = {"bytes": 1, "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MAX_MESSAGE = 2000
"""Characters that belong to a message at most; the advice at its end is of no use here."""


_MAX_LINE = 200
"""Characters of a line that are quoted before and behind what was recognised in it."""


_DEVICE = size_pattern(r"GPU (\d{1,4})(?: has a total|;)|on device (\d{1,4})")
_PARTS = {
    name: tuple(map(size_pattern, texts))
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
_OTHER = size_pattern(r"Process (\d{1,15}) has SIZE memory in use")
_ADVICE = re.compile(r"PYTORCH_(?:\w{1,4}_)?ALLOC_CONF=expandable_segments:True|max_split_size_mb")


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


@cache
def _tiers() -> tuple[tuple[tuple[Kind, "re.Pattern[str] | Signature"], ...], ...]:
    """Return what is looked for, the second and the third where nothing before them is found.

    What a message says, a rule's text being a fault in whatever part of the detector; what ends a
    process in silence; what follows from another process's failure.
    """
    listed = kinds().values()
    texts = [(kind, one) for kind in listed for one in kind.texts if not one.part]
    return (
        (
            *((kind, kind.head) for kind in listed if kind.head is not None),
            *((kind, one) for kind, one in texts if not kind.follows),
            *((FAULT, one) for one in signatures()),
        ),
        tuple((kind, kind.bare) for kind in listed if kind.bare is not None),
        tuple((kind, one) for kind, one in texts if kind.follows),
    )


def _last_match(text: str) -> tuple[re.Match[str] | None, Kind]:
    """Return the last match and its kind, of matches that end alike the longest."""
    for tier in _tiers():
        found = [(match, kind) for kind, one in tier for match in one.finditer(text)]
        if found:
            return max(found, key=lambda item: (item[0].end(), -item[0].start()))
    return None, FAULT


def _quoted(text: str, span: tuple[int, int]) -> str:
    """Return the whole line of a text without figures, as far as that is no novel."""
    start = text.rfind("\n", 0, span[0]) + 1
    end = text.find("\n", span[1])
    end = min(len(text) if end < 0 else end, span[1] + _MAX_LINE)
    return " ".join(text[max(start, span[0] - _MAX_LINE) : end].split())


def _failure(match: re.Match[str], kind: Kind, body: str, **place: Any) -> Failure:
    # What a library says is the head alone; only allocators go on with figures.
    parts = _PARTS if kind.predictable else {}
    sizes: dict[str, Any] = {name: _first(patterns, body) for name, patterns in parts.items()}
    if match.lastindex:
        sizes["requested"] = parse_figure(match[match.lastindex])
    device = _DEVICE.search(body)
    advice = _ADVICE.search(body)
    return Failure(
        kind=kind,
        sentence=" ".join(match[0].split()),
        device=int(device[1] or device[2]) if device else None,
        advises=advice[0] if advice else "",
        others=tuple(
            OtherProcess(int(pid), parse_figure(size)) for pid, size in _OTHER.findall(body)
        ),
        **sizes,
        **place,
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
    """Return the last failure of each process; the last of them is the log's.

    They are in the order of the text, but for those that follow from others or say nothing.
    """
    streams: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, raw in enumerate(_ESCAPE.sub("", text).splitlines(), start=1):
        rank, line = _split(raw)
        if line:
            streams[rank].append((number, line))
    last = [_last_of(rank, lines) for rank, lines in streams.items()]
    found = [failure for failure in last if failure is not None]
    return tuple(sorted(found, key=lambda one: (not one.kind.follows, not one.is_silent, one.line)))


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
    """Return the last failure of one process; its lines come with their numbers in the log."""
    text = "\n".join(line for _, line in lines)
    match, kind = _last_match(text)
    if match is None:
        return None
    is_quoted = kind is FAULT or bool(kind.texts)
    # A text without figures ends where its line does.
    at = text.count("\n", 0, match.end() if is_quoted else match.start())
    stack = _stack([line for _, line in lines[: at + 1]])
    if not is_quoted:
        body = text[match.start() : match.start() + _MAX_MESSAGE]
        return _failure(match, kind, body, line=lines[at][0], rank=rank, stack=stack)
    sentence, part = _quoted(text, match.span()), stack.printed_by
    codes = codes_for(sentence, part)
    return Failure(
        kind=kind if codes else _kind_in(sentence, part) or kind,
        sentence=sentence,
        line=lines[at][0],
        rank=rank,
        stack=stack,
        codes=codes,
    )


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


def _kind_in(text: str, part: str | None) -> Kind | None:
    """Return what the text is where that part of the detector printed it; None if nothing."""
    known = (
        kind
        for kind in kinds().values()
        if any(part and one.part == part and one.pattern.search(text) for one in kind.texts)
    )
    return next(known, None)
