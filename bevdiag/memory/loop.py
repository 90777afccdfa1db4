"""How a training script runs its steps: what of it costs memory beside the model's own step."""

from dataclasses import dataclass

NCCL_BYTES = 257 * 1024**2
"""What a rank held outside the allocator beyond a lone process: two H200 on NVLink, torch 2.11 with
NCCL 2.28 (eight runs of OpenPCDet, 250 to 257 MiB, and 321 with a second communicator's kernels).
"""
NCCL_MOST_BYTES = 321 * 1024**2
NCCL_MEASURED_GPUS = 2
"""Of more, each has two neighbours in a ring or chain where one of two has one: so it is taken to
hold twice as much at most, which was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What a loop does around the plain step; the defaults are one process that trains.

    Attributes:
        gpus: processes, one a GPU, whose gradients DistributedDataParallel averages.
        bucket_view: gradients are views of the reducer's buckets (`gradient_as_bucket_view`).
        finds_unused: `find_unused_parameters`; the buckets then keep their first order.
        accumulate: batches whose gradients are added up before an update.
        scaler: whether the loss is scaled by a GradScaler.
        ema: whether a running average of the weights is kept on the GPU.
        resumes: whether it goes on from a checkpoint, with the optimizer's state.
        evaluates: the step is one of evaluation: no gradients, no optimizer.
    """

    gpus: int = 1
    bucket_view: bool = False
    finds_unused: bool = False
    accumulate: int = 1
    scaler: bool = False
    ema: bool = False
    resumes: bool = False
    evaluates: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing to say about it."""
        return self == PLAIN

    @property
    def split(self) -> str:
        """Whose counts of voxels and points the config's pairs are read for."""
        return "test" if self.evaluates else "train"

    @property
    def nccl_bytes(self) -> int:
        """What NCCL holds outside the allocator."""
        return NCCL_BYTES if self.gpus > 1 else 0

    @property
    def nccl_doubt_bytes(self) -> int:
        """How much more than `nccl_bytes` that may be."""
        if self.gpus == 1:
            return 0
        neighbours = 1 if self.gpus == NCCL_MEASURED_GPUS else 2
        return neighbours * NCCL_MOST_BYTES - NCCL_BYTES

    def _nccl_words(self) -> str:
        size = f"NCCL's {NCCL_BYTES // 1024**2} MiB outside the allocator"
        if self.gpus == NCCL_MEASURED_GPUS:
            return f"{size}, measured with two H200 on NVLink"
        return f"{size} assumed: measured with two GPUs, more may take more"

    @property
    def words(self) -> str:
        """Name what is not plain: "EMA of the weights, evaluation"; empty for a plain loop."""
        named = {
            f"one of {self.gpus} GPUs (DDP), {self._nccl_words()}": self.gpus > 1,
            "gradients as bucket views": self.bucket_view,
            "unused parameters looked for": self.finds_unused,
            f"{self.accumulate} batches an update": self.accumulate > 1,
            "GradScaler": self.scaler,
            "EMA of the weights": self.ema,
            "resumed from a checkpoint": self.resumes,
            "evaluation": self.evaluates,
        }
        return ", ".join(words for words, applies in named.items() if applies)


PLAIN = Loop()
