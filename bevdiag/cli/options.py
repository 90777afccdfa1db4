"""The options that commands share: names, place holders and help."""

from copy import copy
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from bevdiag.cli.output import CHECK_FORMATS, INSPECT_FORMATS
from bevdiag.files.shipped import SHIPPED_NAME
from bevdiag.prediction import values
from bevdiag.prediction.options import KNOBS

DEVICES, AUTOCASTS = "|".join(values.DEVICES), "|".join(values.AUTOCASTS)
_FORMATS = "|".join(values.FORMATS)
_CHECK_FORMATS, _INSPECT_FORMATS = "|".join(CHECK_FORMATS), "|".join(INSPECT_FORMATS)
_HELP = f"""
--device {DEVICES}
    meta predicts without a GPU; cuda also measures; auto: cuda where there is one.
--points FILE
    Point cloud (.bin, .npy, .npz, .pcd, .ply, .txt, .csv, .xyz, .feather, .parquet) or a folder of
    them; repeat it to give several, which the samples of a batch take in turn. Default: a synthetic
    scene that fits the config.
--scene FILE
    Counts that bevdiag scene measure wrote: the synthetic scene is to have as many points and
    voxels.
--batch FILE
    A batch of your own loader for the model of --source, saved by torch.save (tensors, numbers and
    text) or numpy.savez; nothing in it is executed.
--point-columns N
    Values a point in .bin files. Default: the config's src_feature_list.
--point-dtype float16|float32|float64
    Of .bin files. Default: float32.
--batch-size N
    Samples a step. Default: the config's own.
--batch-size N,...
    Samples a step. Default: the config's own.
--autocast {AUTOCASTS}
    Mixed precision. Default: the config's own.
--autocast NAME,...
    Mixed precision, of {", ".join(values.AUTOCASTS)}. Default: the config's own.
--compression NAME
    How the height is reduced: none, max, mean, learned, sparse_max, sparse_mean or sparse_sum; with
    --source, a module of the repository. Default: the config's own.
--compression NAME,...
    Ways to reduce the height, beside none, the reference. Default: max,mean,learned,sparse_max;
    with --source, names of the repository's own modules for MAP_TO_BEV, by default none.
--optimizer NAME
    As configs name it. Default: the config's own.
--gpu NAME
    The GPU to judge by, e.g. a100-80gb. Default: BEVDIAG_GPU, the project's policy, or the GPU at
    hand.
--budget SIZE
    What the process may take in all, as nvidia-smi counts, e.g. 22GiB. Default: BEVDIAG_BUDGET or
    the project's policy.
--cudnn VERSION
    The cuDNN that will train. Default: BEVDIAG_CUDNN, the project's policy, or the one that this
    torch ships with.
--profile FILE
    A device profile that bevdiag calibrate wrote: predict for its GPU and libraries; none: use
    rules alone. Default: the shipped one of that GPU, torch and cuDNN, if any.
--cudnn-benchmark
    Predict for torch.backends.cudnn.benchmark = True, where timings choose the kernels.
--set, --cfg-options KEY=VALUE
    Override a key of the config, e.g. A.B=1; repeatable.
--assume SITE=COUNT
    Pin a count that depends on values; SITE@STEP=COUNT from a step on; repeatable.
--seed N
    Of the synthetic scene and the weights.
--verbose, -v
    --full, and the wiring where nothing is wrong with it.
--full
    Show every layer, holder, finding and change, and the evaluation.
--format {_FORMATS}
    For people or programs.
--format {_CHECK_FORMATS}
    For people, programs, code scanning, CI servers, annotations or comments.
--format {_INSPECT_FORMATS}
    For people, programs, code scanning, CI servers, annotations or comments; memory-viz is a
    snapshot for pytorch.org/memory_viz.
-o, --output FILE
    Where to write; - is stdout.
--also FORMAT=FILE
    Also write another format, e.g. sarif=checks.sarif; repeatable.
--margin SHARE|SIZE
    What must stay free of the budget, e.g. 10% or 2GiB, as for a desktop on the same GPU. Default:
    BEVDIAG_MARGIN or the project's policy.
--torch VERSION
    The torch that will train. Default: BEVDIAG_TORCH, the project's policy, or the installed one.
--policy FILE
    The project's policy. Default: the bevdiag.toml or pyproject.toml nearest to each config.
--isolated
    Use no project's policy.
--tolerance SHARE
    Growth that --baseline allows. Default: 1%.
--html FILE
    Also write the report as a page for a browser.
--depth N
    --full, with N levels of layers. Default: 3.
--source DIR
    Build the model with the code of this OpenPCDet-style repository. This executes that code, in a
    child process; nothing is compiled or downloaded.
--entry FILE.py:FUNCTION
    Take model, batch and loss (and optimizer) from this function, which gets the path of CONFIG if
    it takes one. This executes it like --source.
--data-root DIR
    Also check that the data paths exist; relative ones start from here.
--timeout SECONDS
    How long a process that traces or measures may go without an answer. Default: 900.
--rehearse auto|off
    Run a repository's forward pass once on the CPU where a branch, a count or a mask depends on
    values; off takes every outcome for possible.
--gpus N
    Processes that train together, one a GPU (DistributedDataParallel): what one of them takes.
--accumulate N
    Batches whose gradients make one update.
--scaler
    The loss is scaled by a GradScaler.
--ema
    A running average of the weights is kept on the GPU.
--resume
    Training goes on from a checkpoint that has the optimizer's state.
--step train|eval
    eval: model.eval() under no_grad, with post-processing.
--remedies/--no-remedies
    Try every change that lowers the peak. Default: where the step may not fit, from the cheapest on
    until one fits.
--requirements FILE
    Look at the environment that this lists (requirements, pip freeze, conda) instead of the one at
    hand; a line python==3.X says for which Python.
--driver VERSION
    The NVIDIA driver to judge by, e.g. 535.104. Default: the one at hand, without --requirements.
--log FILE
    A log that holds it; - is stdin, of which --timeout is 60 by default. Last wins.
--config CONFIG
    The model's config: names the tensor. Without it the text alone is decoded.
--baseline FILE
    Fail where memory has grown beyond this record.
--uncertain fail|pass
    Whether a config without a verdict (exit 3) passes with a warning.
-q, --quiet
    Print nothing if all is well.
--calls PROFILE
    Measure the convolutions of this profile. Default: those of the shipped one.
--rows FILE
    A JSON file of measured rows; repeatable. Runs the script scenes.py beside it, which makes the
    rows' point clouds. Default: the rows that come with bevdiag.
--configs DIR
    The folder of the configs that rows name, e.g. OpenPCDet's tools/cfgs. Default: those of
    --source; of --rows, openpcdet/cfgs beside the folder of FILE.
--replaced PACKAGE=BY
    What stood for a package's operators when the rows of --rows were measured, where they say
    nothing of it: torch_scatter=scatter_reduce.
--format text|markdown|json
    For people, pull requests or programs.
--diff
    Print the edits as a unified diff, and nothing else.
--write
    Write the edits into CONFIG and inspect it again.
--unsafe
    Let changes take part that throw input away, shrink the optimizer's batch, or move the grid of
    the predictions.
--what {"|".join(KNOBS)}
    What is made as large as it goes.
"""
"""Every option as `option` is asked for it, and below it what --help says."""


def option(usage: str) -> Any:
    """Return the option that `_HELP` has under a line such as `-o, --output FILE`."""
    _, found, after = _HELP.partition(f"\n{usage}\n")
    assert found, usage
    *names, last = usage.split(", ")
    last, _, metavar = last.partition(" ")
    return typer.Option(
        *names, last, metavar=metavar or None, help=" ".join(after.partition("\n-")[0].split())
    )


def hidden(annotation: Any) -> Any:
    """Return an annotated option that --help leaves out."""
    kind, shown = get_args(annotation)
    unseen = copy(shown)
    unseen.hidden = True
    return Annotated[kind, unseen]


Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="OpenPCDet YAML config.")]
ConfigOrEntry = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="OpenPCDet YAML config; none is needed with --entry."),
]
ConfigOrShipped = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help=f"Default: the shipped {SHIPPED_NAME}.")
]
_CONFIGS = (
    "OpenPCDet YAML configs: files, folders, patterns such as 'cfgs/**/*.yaml', or - for stdin"
)
Configs = Annotated[list[Path], typer.Argument(metavar="CONFIG...", help=f"{_CONFIGS}.")]
ConfigsOrEntry = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="CONFIG...",
        help=f"{_CONFIGS}; none is needed with --entry.",
    ),
]
PointColumns = Annotated[str | None, option("--point-columns N")]
PointDtype = Annotated[str | None, option("--point-dtype float16|float32|float64")]
BatchSizes = Annotated[str | None, option("--batch-size N,...")]
Autocasts = Annotated[str | None, option("--autocast NAME,...")]
GpuName = Annotated[str | None, option("--gpu NAME")]
Profile = Annotated[str | None, option("--profile FILE")]
Overrides = Annotated[list[str] | None, option("--set, --cfg-options KEY=VALUE")]
OutputFile = Annotated[str, option("-o, --output FILE")]
Also = Annotated[list[str] | None, option("--also FORMAT=FILE")]
PolicyFile = Annotated[Path | None, option("--policy FILE")]
Isolated = Annotated[bool, option("--isolated")]
Html = Annotated[str | None, option("--html FILE")]
Source = Annotated[str | None, option("--source DIR")]
DataRoot = Annotated[str | None, option("--data-root DIR")]
