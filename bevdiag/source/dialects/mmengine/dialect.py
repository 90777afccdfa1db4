"""MMEngine's conventions: a model from its registry, a preprocessor, `loss` mode, a wrapper.

A scene goes through the config's own training pipeline, from files in the scratch folder.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils._pytree import tree_map_only

from bevdiag.source.dialects.mmengine import required
from bevdiag.source.dialects.mmengine.frames import Frames, on_points
from bevdiag.source.dialects.mmengine.proposals import with_proposals
from bevdiag.source.dialects.openmmlab import OpenMMLab, scene_of, training_set
from bevdiag.source.dialects.protocol import Loaded, Supply, valueless
from bevdiag.source.dialects.python_configs import (
    PipelineSupply,
    leave_unmeasured,
    with_loop,
    without_weights,
)
from bevdiag.trace.step import StepOptions
from bevdiag.trace.wiring_batch import WatchedBatch

_IMAGES = "img"
_OF_A_RIG = 4
"""Axes of a sample's images where there are several cameras."""
_UNMEASURED = "models that look through several cameras"


class MMEngineSupply(PipelineSupply):
    """The batches of a scene, from files in the scratch folder."""

    prepared = staticmethod(on_points)

    def batch(self, *, with_values: bool = False, labelled: bool = True) -> Loaded:
        loaded = super().batch()
        if not with_values:
            loaded.entries["inputs"] = {
                key: tree_map_only(torch.Tensor, valueless, value) if "img" in key else value
                for key, value in loaded.entries["inputs"].items()
            }
        truths = [sample.get("gt_instances_3d", {}) for sample in self.own["data_samples"]]
        if all("bboxes_3d" in truth for truth in truths):
            # Where transforms have turned them to.
            found = [truth.bboxes_3d for truth in truths]
            whole = [torch.cat((b.gravity_center, b.tensor[:, 3:7]), dim=1) for b in found]
            loaded = loaded._replace(boxes=pad_sequence(whole, batch_first=True))
        return loaded

    def counts(self) -> tuple[int | None, int | None]:
        clouds = self.own["inputs"].get("points")
        return (None if clouds is None else sum(map(len, clouds))), None

    def collated(self) -> dict[str, Any]:
        registry = required("mmdet3d.registry")
        dataset = _training_set(self.config)
        steps = [registry.TRANSFORMS.build(step) for step in self.kept(dataset.pipeline)]
        frames = Frames(self.scene, dataset, Path(mkdtemp()))
        samples = []
        for index in range(len(frames)):
            results: Any = {**frames.get_data_info(index), "dataset": frames}
            for step in steps:
                results = step(results)
                if results is None:
                    raise ValueError(f"{type(step).__name__} drops the sample")
            samples.append(results)
        collated: dict[str, Any] = required("mmengine.dataset").pseudo_collate(samples)
        return collated


class MMEngine(OpenMMLab):
    """mmdetection3d 1.x, in the repository or installed beside it."""

    SUPPLY = MMEngineSupply
    READER = "mmengine.config"
    required = staticmethod(required)
    NO_BATCH = "a batch of MMEngine holds objects, which no such file can"

    @classmethod
    def recognise(cls, root: Path, config: Path) -> bool:
        """Whether a Python config is MMEngine's, if it is no older one's; nothing is run."""
        return config.suffix == ".py"

    def described(self, config: Any) -> dict[str, Any]:
        dataset, wrapper = _training_set(config), config.get("optim_wrapper") or {}
        mixed = "bf16" if str(wrapper.get("dtype")) == "bfloat16" else "fp16"
        return {
            **scene_of(config, dataset, _class_names(config, dataset)),
            "batch_size": int(config.train_dataloader.get("batch_size", 1)),
            "batch_key": ["train_dataloader", "batch_size"],
            "half_precision": (("optim_wrapper", "type"), "AmpOptimWrapper"),
            "optimizer": str((wrapper.get("optimizer") or {}).get("type", "")),
            "autocast": mixed if _uses_amp(wrapper) else "off",
        }

    def open(self) -> None:
        self._config = self.read()
        required("mmdet3d.utils").register_all_modules(init_default_scope=True)

    def build(self, supply: Supply) -> nn.Module:
        registry = required("mmdet3d.registry")
        model: Any = registry.MODELS.build(without_weights(deepcopy(self._config.model)))
        # What the runner's model.to(device) does beside moving the parameters.
        model.data_preprocessor.to("cuda:0")
        self.note_sparse_convolutions(model)
        return with_proposals(model)

    def loss(self, model: Any, batch: WatchedBatch) -> torch.Tensor:
        """Return the loss of `BaseModel.train_step`."""
        if any(image.dim() == _OF_A_RIG for image in batch["inputs"].get(_IMAGES, ())):
            leave_unmeasured(_UNMEASURED)
        data = model.data_preprocessor({**batch, "inputs": dict(batch["inputs"])}, True)
        loss: torch.Tensor = model.parse_losses(model(**data, mode="loss"))[0]
        return loss

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer | None:
        """Build what the config's wrapper does."""
        settings = self._config.get("optim_wrapper")
        if not settings:
            return None
        plain = {**settings, "type": "OptimWrapper"}
        for key in ("loss_scale", "dtype", "use_fsdp", "accumulative_counts"):
            plain.pop(key, None)
        wrapper = required("mmengine.optim").build_optim_wrapper(model, plain)
        optimizer: torch.optim.Optimizer = wrapper.optimizer
        return optimizer

    def options(self, options: StepOptions) -> StepOptions:
        """With the wrapper's GradScaler and clipping, its accumulation where they name none."""
        wrapper = self._config.get("optim_wrapper") or {}
        return with_loop(
            options,
            scales=options.autocast != "off" and _uses_amp(wrapper),
            counts=int(wrapper.get("accumulative_counts", 1)),
            clips=bool(wrapper.get("clip_grad")),
        )


def _training_set(config: Any) -> Any:
    older = "; only one of before MMEngine, data.train" if config.get("data") else ""
    found = (config.get("train_dataloader") or {}).get("dataset")
    return training_set(config, found, f"train_dataloader.dataset{older}")


def _class_names(config: Any, dataset: Any) -> Sequence[str]:
    named = (dataset.get("metainfo") or {}).get("classes") or config.get("class_names")
    named = named or dataset.get("classes")
    if not named:
        # For configs that name none, the class of the data set does.
        required("mmdet3d.utils").register_all_modules(init_default_scope=True)
        found = required("mmdet3d.registry").DATASETS.get(str(dataset["type"]))
        named = getattr(found, "METAINFO", {}).get("classes", ())
    classes: Sequence[str] = named
    return classes


def _uses_amp(wrapper: Mapping[str, Any]) -> bool:
    """Whether a wrapper trains in mixed precision, which takes a GradScaler with it."""
    return "Amp" in str(wrapper.get("type", ""))
