"""Find the failures in a log, each with the process that it belongs to and its traceback."""

import re
from collections import defaultdict
from dataclasses import replace

from bevdiag.explain.failure import Failure, FailureKind, Stack
from bevdiag.explain.messages import last_failure
from bevdiag.explain.other_texts import ADVICE, kind_in
from bevdiag.rules.texts import codes_for

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
_PARTS = {
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
    last = [_last(rank, lines) for rank, lines in streams.items()]
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


def _last(rank: str, lines: list[tuple[int, str]]) -> Failure | None:
    numbers = [number for number, _ in lines]
    failure = last_failure("\n".join(line for _, line in lines), numbers, rank)
    if failure is None:
        return None
    before = [line for number, line in lines if number <= failure.line]
    stack = _stack(before)
    if failure.kind is not FailureKind.FAULT and failure.kind not in ADVICE:
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
            known = [_PARTS[folder] for folder in match[1].split("/") if folder in _PARTS]
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
