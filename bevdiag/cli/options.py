"""The options that commands share: names, place holders and help."""

from pathlib import Path
from typing import Annotated

import typer

from bevdiag.cli.formats import CHECK_FORMATS, INSPECT_FORMATS
from bevdiag.cli.shipped import SHIPPED_NAME
from bevdiag.prediction.values import AUTOCASTS, DEVICES, FORMATS

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="OpenPCDet YAML config.")]
ConfigOrEntry = Annotated[
    Path | None,
    typer.Argument(metavar="CONFIG", help="OpenPCDet YAML config; none is needed with --entry."),
]
ConfigOrShipped = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help=f"Default: the shipped {SHIPPED_NAME}.")
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="|".join(DEVICES),
        help="meta predicts without a GPU; cuda also measures; auto: cuda where there is one.",
    ),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--points",
        metavar="FILE",
        help="Point cloud (.bin, .npy, .npz, .pcd, .ply, .txt, .csv, .xyz, .feather, .parquet) or "
        "a folder of them; repeat it to give several, which the samples of a batch take in turn. "
        "Default: a synthetic scene that fits the config.",
    ),
]
SceneFile = Annotated[
    str | None,
    typer.Option(
        "--scene",
        metavar="FILE",
        help="Counts that bevdiag scene measure wrote: the synthetic scene is to have as many "
        "points and voxels.",
    ),
]
BatchFile = Annotated[
    str | None,
    typer.Option(
        "--batch",
        metavar="FILE",
        help="A batch of your own loader for the model of --source, saved by torch.save (tensors, "
        "numbers and text) or numpy.savez; nothing in it is executed.",
    ),
]
PointColumns = Annotated[
    str | None,
    typer.Option(
        "--point-columns",
        metavar="N",
        help="Values a point in .bin files. Default: the config's src_feature_list.",
    ),
]
PointDtype = Annotated[
    str | None,
    typer.Option(
        "--point-dtype", metavar="float16|float32|float64", help="Of .bin files. Default: float32."
    ),
]
BatchSize = Annotated[
    str | None,
    typer.Option("--batch-size", metavar="N", help="Samples a step. Default: the config's own."),
]
BatchSizes = Annotated[
    str | None,
    typer.Option(
        "--batch-size", metavar="N,...", help="Samples a step. Default: the config's own."
    ),
]
Autocast = Annotated[
    str | None,
    typer.Option(
        "--autocast",
        metavar="|".join(AUTOCASTS),
        help="Mixed precision. Default: the config's own.",
    ),
]
Autocasts = Annotated[
    str | None,
    typer.Option(
        "--autocast",
        metavar="NAME,...",
        help=f"Mixed precision, of {', '.join(AUTOCASTS)}. Default: the config's own.",
    ),
]
Compression = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="NAME",
        help="How the height is reduced: none, max, mean, learned, sparse_max, sparse_mean or "
        "sparse_sum; with --source, a module of the repository. Default: the config's own.",
    ),
]
Compressions = Annotated[
    str | None,
    typer.Option(
        "--compression",
        metavar="NAME,...",
        help="Ways to reduce the height, beside none, the reference. Default: "
        "max,mean,learned,sparse_max; with --source, names of the repository's own modules for "
        "MAP_TO_BEV, by default none.",
    ),
]
Optimizer = Annotated[
    str | None,
    typer.Option(
        "--optimizer", metavar="NAME", help="As configs name it. Default: the config's own."
    ),
]
GpuName = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        metavar="NAME",
        help="The GPU to judge by, e.g. a100-80gb. Default: BEVDIAG_GPU, the project's policy, or "
        "the GPU at hand.",
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="SIZE",
        help="What the process may take in all, as nvidia-smi counts, e.g. 22GiB. Default: "
        "BEVDIAG_BUDGET or the project's policy.",
    ),
]
Cudnn = Annotated[
    str | None,
    typer.Option(
        "--cudnn",
        metavar="VERSION",
        help="The cuDNN that will train. Default: BEVDIAG_CUDNN, the project's policy, or the one "
        "that this torch ships with.",
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="FILE",
        help="A device profile that bevdiag calibrate wrote: predict for its GPU and libraries; "
        "none: use rules alone. Default: the shipped one of that GPU, torch and cuDNN, if any.",
    ),
]
CudnnBenchmark = Annotated[
    bool,
    typer.Option(
        "--cudnn-benchmark",
        help="Predict for torch.backends.cudnn.benchmark = True, where timings choose the kernels.",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "--cfg-options",
        metavar="KEY=VALUE",
        help="Override a key of the config, e.g. A.B=1; repeatable.",
    ),
]
Assumed = Annotated[
    list[str] | None,
    typer.Option(
        "--assume",
        metavar="SITE=COUNT",
        help="Pin a count that depends on values; SITE@STEP=COUNT from a step on; repeatable.",
    ),
]
Seed = Annotated[
    str, typer.Option("--seed", metavar="N", help="Of the synthetic scene and the weights.")
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="--full, and the wiring where nothing is wrong with it."),
]
Full = Annotated[
    bool,
    typer.Option(
        "--full", help="Show every layer, holder, finding, change; with --source the evaluation."
    ),
]
Format = Annotated[
    str,
    typer.Option("--format", metavar="|".join(FORMATS), help="For people or programs."),
]
CheckFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join(CHECK_FORMATS),
        help="For people, programs, code scanning, CI servers, annotations or comments.",
    ),
]
InspectFormat = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="|".join(INSPECT_FORMATS),
        help="For people, programs, code scanning, CI servers, annotations or comments; memory-viz "
        "is a snapshot for pytorch.org/memory_viz.",
    ),
]
Output = Annotated[
    str, typer.Option("-o", "--output", metavar="FILE", help="Where to write; - is stdout.")
]
Also = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="FORMAT=FILE",
        help="Also write another format, e.g. sarif=checks.sarif; repeatable.",
    ),
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
Margin = Annotated[
    str | None,
    typer.Option(
        "--margin",
        metavar="SHARE|SIZE",
        help="What must stay free of the budget, e.g. 10% or 2GiB, as for a desktop on the same "
        "GPU. Default: BEVDIAG_MARGIN or the project's policy.",
    ),
]
TorchVersion = Annotated[
    str | None,
    typer.Option(
        "--torch",
        metavar="VERSION",
        help="The torch that will train. Default: BEVDIAG_TORCH, the project's policy, or the "
        "installed one.",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        metavar="FILE",
        help="The project's policy. Default: the bevdiag.toml or pyproject.toml nearest to each "
        "config.",
    ),
]
Isolated = Annotated[bool, typer.Option("--isolated", help="Use no project's policy.")]
Tolerance = Annotated[
    str, typer.Option("--tolerance", metavar="SHARE", help="Growth that --baseline allows.")
]
Html = Annotated[
    str | None,
    typer.Option("--html", metavar="FILE", help="Also write the report as a page for a browser."),
]
Depth = Annotated[
    str | None,
    typer.Option("--depth", metavar="N", help="--full, with N levels of layers instead of 3."),
]
Source = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="DIR",
        help="Build the model with the code of this OpenPCDet-style repository. "
        "This executes that code, in a child process; nothing is compiled or downloaded.",
    ),
]
EntryFunction = Annotated[
    str | None,
    typer.Option(
        "--entry",
        metavar="FILE.py:FUNCTION",
        help="Take model, batch and loss (and optimizer) from this function, which gets the path "
        "of CONFIG if it takes one. This executes it like --source.",
    ),
]
DataRoot = Annotated[
    str | None,
    typer.Option(
        "--data-root",
        metavar="DIR",
        help="Also check that the data paths exist; relative ones start from here.",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="How long a process that traces or measures may go without an answer. Default: 900.",
    ),
]
Rehearse = Annotated[
    str,
    typer.Option(
        "--rehearse",
        metavar="auto|off",
        help="Run a repository's forward pass once on the CPU where a branch, a count or a mask "
        "depends on values; off takes every outcome for possible.",
    ),
]
Gpus = Annotated[
    str,
    typer.Option(
        "--gpus",
        metavar="N",
        help="Processes that train together, one a GPU (DistributedDataParallel): what one of them "
        "takes.",
    ),
]
Accumulate = Annotated[
    str,
    typer.Option("--accumulate", metavar="N", help="Batches whose gradients make one update."),
]
Scaler = Annotated[bool, typer.Option("--scaler", help="The loss is scaled by a GradScaler.")]
Ema = Annotated[
    bool, typer.Option("--ema", help="A running average of the weights is kept on the GPU.")
]
Step = Annotated[
    str,
    typer.Option(
        "--step",
        metavar="train|eval",
        help="eval: model.eval() under no_grad with the post-processing of a repository "
        "(--source).",
    ),
]
Remedies = Annotated[
    bool | None,
    typer.Option(
        "--remedies/--no-remedies",
        help="Try every change that lowers the peak. Default: where the step may not fit, from "
        "the cheapest on until one fits.",
    ),
]
