"""The Python API: `bevdiag.predict` of a config, of a repository's config or of any nn.Module."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import nn

from bevdiag.errors import ConfigError, InputError
from bevdiag.prediction import inspect as inspection
from bevdiag.prediction import result
from bevdiag.prediction.checked import without_ignored
from bevdiag.prediction.jobs import Given, make_jobs
from bevdiag.prediction.module import Module, rehearses_if
from bevdiag.prediction.options import InspectOptions
from bevdiag.prediction.predicted import predict as from_source
from bevdiag.report.as_json import as_json
from bevdiag.report.html.report_pages import inspect_page
from bevdiag.scenes.file_tables import MAX_COLUMNS
from bevdiag.scenes.point_layout import DTYPES
from bevdiag.trace.any_model import Loss

_PATH = (str, os.PathLike)
_KINDS: tuple[tuple[str, Any, str], ...] = (
    ("model_or_config", (nn.Module, *_PATH), "a torch.nn.Module or the file of a config"),
    ("gpu autocast optimizer point_dtype entry cudnn", str, "a text"),
    ("budget", (str, int), 'a size such as "22GiB", or bytes'),
    ("batch_size point_columns", int, "a whole number"),
    ("scene source policy", _PATH, "a path"),
    ("batch", (Mapping, *_PATH), "a batch or its file"),
    ("points overrides", Sequence, "a list"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction(result.Prediction):
    """One training step, predicted: `fits`, `peak`, `layers`, `findings` and all that is known.

    Sizes are bytes. In a notebook it shows as the first screen of `bevdiag inspect --html`'s page.
    """

    def to_json(self) -> str:
        """Return the document that `bevdiag inspect --format json` writes."""
        return as_json(self)

    def _repr_html_(self) -> str:
        page = inspect_page(self, whole=False).replace("&", "&amp;").replace('"', "&quot;")
        return f'<iframe style="width:100%;height:40em;border:0" srcdoc="{page}"></iframe>'


def predict(
    model_or_config: nn.Module | str | os.PathLike[str] | None = None,
    inputs: Any = None,
    *,
    gpu: str | None = None,
    budget: str | int | None = None,
    loss: Loss | None = None,
    autocast: str | None = None,
    optimizer: str | None = None,
    batch_size: int | None = None,
    points: Sequence[str | os.PathLike[str]] = (),
    point_columns: int | None = None,
    point_dtype: str | None = None,
    scene: str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    source: str | os.PathLike[str] | None = None,
    batch: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    entry: str | None = None,
    cudnn: str | None = None,
    rehearse: str = "auto",
    policy: str | os.PathLike[str] | None = None,
    isolated: bool = False,
) -> Prediction:
    """Predict what a training step asks of a GPU, without one.

    Args:
        model_or_config: a module, which stays as it is, or the file of a config; nothing where
            `entry` needs none.
        inputs: of a module: tensors in any nesting of tuples, lists and dicts; a tuple is given as
            several arguments, a dict of the forward's arguments by their names.
        gpu: a GPU of the catalogue, e.g. "rtx4090". Without it and a budget, BEVDIAG_GPU and
            BEVDIAG_BUDGET speak, then the policy, then the GPU at hand; where there is none,
            nothing is judged.
        budget: what the process may take in all, as nvidia-smi counts: "22GiB", or bytes.
        loss: of what the module returns; None takes the loss that it returns, or else the sum of
            its outputs.
        autocast: "off", "fp16" or "bf16"; by default the config's own, off for a module.
        optimizer: as configs name it; by default the config's own, AdamW for a module.
        batch_size: samples a step, by default the config's own.
        points: point clouds for a config, instead of a synthetic scene.
        point_columns: values a point in .bin files, by default the config's src_feature_list.
        point_dtype: of .bin files: "float16", "float32" (the default) or "float64".
        scene: counts that `bevdiag scene measure` wrote, for a synthetic scene to have.
        overrides: ``KEY=value`` texts for the config.
        source: the repository whose own code builds the config's model. This executes that code.
        batch: what a repository's model gets: the file of a batch of your own loader, or the batch
            itself, as the loader gives it.
        entry: "FILE.py:function", a function that returns model, batch and loss; it gets the path
            of the config, or nothing. This executes that code.
        cudnn: the cuDNN that will train, by default the one that the installed torch ships with.
        rehearse: "auto" runs a module or a repository's model once on the CPU if its step asks for
            values; "off" takes the interval of all that they can be.
        policy: the project's policy; None takes the bevdiag.toml or pyproject.toml nearest to the
            config, of a module to the working folder.
        isolated: take none.

    Returns:
        The prediction; `fits` speaks of its upper end.

    Raises:
        InputError: an argument cannot be used, or has no effect on what is asked.
        ConfigError: the config cannot be used; the sentence names the first fault.
        NoVerdictError: the step asks for something that is not modelled.
        Exception: what a module's or a loss's own code raises comes as it is.
    """
    given = dict(locals())
    _check_kinds(given)
    rehearses = rehearses_if(rehearse)
    # Its default is no wish, as None is that of the others.
    given["rehearse"] = None if rehearses else rehearse

    def refuse(what: str, names: str) -> None:
        named = [name for name in names.split() if _is_given(given[name])]
        if named:
            raise InputError(f"{', '.join(named)}: without effect on {what}, leave it out")

    of_scene = "points point_columns point_dtype scene overrides"
    if entry is not None:
        refuse("what entry gives", f"inputs loss batch_size batch {of_scene}")
    elif model_or_config is None:
        raise InputError("name a module or a config, or a function with entry='FILE.py:function'")
    if isinstance(model_or_config, nn.Module):
        # A module belongs to the project that works in this folder.
        place = Path.cwd() / "model"
        refuse("a module", f"batch_size {of_scene} source batch entry")
    else:
        place = Path(str(entry).rpartition(":")[0] if model_or_config is None else model_or_config)
        refuse("a config", "inputs loss")
        if source is None and entry is None:
            refuse("a config without source", "batch rehearse")
        if batch is not None:
            refuse("a batch of your own", "points scene")
        if point_dtype is not None and point_dtype not in DTYPES:
            raise InputError(f"point_dtype={point_dtype!r}: take one of {', '.join(DTYPES)}")
        if point_columns is not None and not 3 <= point_columns <= MAX_COLUMNS:
            raise InputError(f"point_columns={point_columns!r}: a number from 3 to {MAX_COLUMNS}")
        if points:
            refuse("the scene of point files", "scene")
    asked = InspectOptions(
        device="meta",
        points=tuple(os.fspath(name) for name in points or ()),
        point_columns=point_columns,
        point_dtype=point_dtype,
        scene=_name(scene),
        overrides=tuple(overrides or ()),
        source=_name(source),
        batch=batch if isinstance(batch, Mapping) else _name(batch),
        entry=entry,
        rehearses=rehearses,
        blocks=True,
    )
    said = _Arguments(
        gpu=gpu,
        budget=f"{budget}B" if isinstance(budget, int) else budget,
        cudnn=cudnn,
        autocast=autocast,
        optimizer=optimizer,
        batch_size=None if batch_size is None else str(batch_size),
    )
    chosen = None if policy is None else Path(policy)
    (job,) = make_jobs([place], said, asked, chosen, isolated=isolated)
    found: result.Prediction | result.ConfigReport
    if isinstance(model_or_config, nn.Module):
        found = from_source(Module(model_or_config, inputs, loss, job.options))
    else:
        found = inspection.inspect(job.config, job.options, lambda _what, _share: None)
    found = without_ignored(found, job.ignore)
    if isinstance(found, result.ConfigReport):
        first = found.findings[0]
        raise ConfigError(f"{first.code}: {first.message}", location=first.location)
    return Prediction(**{field.name: getattr(found, field.name) for field in fields(found)})


def _check_kinds(given: Mapping[str, Any]) -> None:
    """Refuse arguments that are no text, number, path or list where one is meant.

    Raises:
        InputError: names the first of them.
    """
    for names, kinds, words in _KINDS:
        for name in names.split():
            value = given[name]
            # A bool is an int, and a text a sequence, but nobody means them so.
            is_other = isinstance(value, str if kinds is Sequence else bool)
            if value is not None and (is_other or not isinstance(value, kinds)):
                raise InputError(f"{name}: expected {words}, not {type(value).__name__}")
    for name in ("points", "overrides"):
        for item in given[name] or ():
            if not isinstance(item, _PATH):
                raise InputError(f"{name}: expected texts or paths, not {type(item).__name__}")


def _is_given(value: object) -> bool:
    return value is not None and not (isinstance(value, tuple | list) and not value)


def _name(file: str | os.PathLike[str] | None) -> str | None:
    return None if file is None else os.fspath(file)


class _Arguments(Given):
    """What a call says, named in sentences as its arguments are."""

    dashes = ""
