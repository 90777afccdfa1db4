"""Failures that neither a lack of memory nor a fault of a config explains, and what helps.

No rule can look for these: the cause is in the labels, the values, another process, the machine or
a checkpoint. A text is written as on the rules' pages: # is a number, ... anything short, and
"(in vfe)" the part of the detector whose code says so.
"""

from functools import cache

from bevdiag.explain.answer import FailureKind
from bevdiag.rules.pages import Signature, signature

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

ADVICE = {
    FailureKind.INDEX: "In a head it is most often a label: a class that the boxes have and "
    "CLASS_NAMES lacks, or a number that starts elsewhere. Before the heads it is a voxel beyond "
    "the grid: a range, voxel size or sparse shape that do not belong together. "
    "CUDA_LAUNCH_BLOCKING=1 moves the traceback of a GPU to the operation itself.",
    FailureKind.CLASS_NAME: "The boxes have a class that CLASS_NAMES lacks: enter it there and in "
    "the head, or drop its boxes when the infos are made. Infos and config must agree on spelling "
    "and letter case.",
    FailureKind.NAN: "A value is not a number, or infinite; memory has no part in it. Look at "
    "boxes of no or negative size (the loss takes their logarithm), at points or features that are "
    "no numbers, at half precision (beyond 65,504) and at the learning rate. "
    "torch.autograd.set_detect_anomaly(True) names the operation.",
    FailureKind.FEATURES: "The voxel encoder is built for the features that used_feature_list "
    "names, and the points have others: the columns of the files are not src_feature_list's. "
    "bevdiag inspect CONFIG --points FILE compares the two.",
    FailureKind.CUDNN_OTHER: "A kernel failed, of this call or of an earlier one: a lack of memory "
    "outside PyTorch's allocator, an index out of bounds before it, or a GPU that this build has "
    "no kernels for. CUDA_LAUNCH_BLOCKING=1 tells the call, torch.backends.cudnn.enabled = False "
    "whether cuDNN has a part in it, and bevdiag doctor whether the build fits the GPU.",
    FailureKind.CUDNN_INPUT: "The library has no kernel for this input, most often as it has more "
    "than 2^31 - 1 elements, or none at all. bevdiag inspect CONFIG names the layers that come "
    "near (BEV403).",
    FailureKind.CUDNN_VERSION: "Another cuDNN than torch's own is found first: take it out of "
    "LD_LIBRARY_PATH, or uninstall the package that brought it. torch's wheels bring their own.",
    FailureKind.GPU: "Look at nvidia-smi and CUDA_VISIBLE_DEVICES first: which GPUs there are, in "
    "which mode, and whether the driver was updated without a restart. bevdiag doctor says what "
    "the driver is and runs.",
    FailureKind.CHECKPOINT: "The checkpoint's parameters have other shapes than the config makes: "
    "another config, other classes or features, or the weights of spconv 1 in spconv 2, whose axes "
    "have another order. The shapes in the message say which.",
    FailureKind.COLLATE: "The samples of one batch have tensors of different sizes under one key, "
    "which the dataset's collate_batch does not pad. --batch-size 1 has no such batch; the cure is "
    "a case for the key in collate_batch.",
    FailureKind.CONFIG_KEY: "The code reads a key that the config does not have: a base config of "
    "another version, or a misspelt key (bevdiag check CONFIG suggests the nearest, BEV004).",
    FailureKind.ONE_SAMPLE: "Batch norm got a single value a channel: a batch of one sample, or "
    "the last batch of an epoch. Take at least two samples, or drop_last=True.",
    FailureKind.NUMPY: "The code uses a name that this NumPy no longer has (np.int, np.float and "
    "np.bool went with 1.24): NumPy below 1.24, or int, float and bool in the code.",
    FailureKind.LIBRARY: "An extension was compiled on a newer system than it runs on. In conda, "
    "conda install -c conda-forge libstdcxx-ng brings the library; else compile it here.",
    FailureKind.DESCRIPTORS: "Loaders pass each tensor as an open file: raise the limit (ulimit -n "
    "65535), or torch.multiprocessing.set_sharing_strategy('file_system'), or take fewer workers.",
    FailureKind.NCCL_OTHER: "Processes that wait for each other stop when one of them ends: the "
    "first failure of another rank, in its own log, is the cause. Without one, NCCL_DEBUG=INFO "
    "prints the reason; two ranks on one GPU, too little /dev/shm in a container and ranks that "
    "run other numbers of steps are the usual ones.",
    FailureKind.WORKER_ENDED: "The reason stands above it, or in nothing that was printed: a "
    "worker that is ended without a word has most often run out of the host's memory or of "
    "/dev/shm. --workers 0 runs the same code in the main process, which prints the traceback.",
}


def heads(*, later: bool) -> tuple[tuple[FailureKind, Signature], ...]:
    """Return the texts that count whatever part printed them, in one list or the other."""
    return tuple((kind, one) for kind, one in _signatures(later=later) if not one.part)


def kind_in(text: str, part: str) -> FailureKind | None:
    """Return what the text is where that part of the detector printed it; None if nothing."""
    return next(
        (
            kind
            for kind, one in _signatures(later=False)
            if one.part == part and part and one.pattern.search(text)
        ),
        None,
    )


@cache
def _signatures(*, later: bool) -> tuple[tuple[FailureKind, Signature], ...]:
    table = _LATER_TEXTS if later else _TEXTS
    return tuple((kind, signature("", text)) for kind, texts in table.items() for text in texts)
