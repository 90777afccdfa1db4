"""The small model and its inspections."""

from ..small_model import _few_gpus, _one_thread, evidence, small

__all__ = ["_few_gpus", "_one_thread", "evidence", "small"]
