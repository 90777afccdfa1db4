"""Packages that are not installed and that a training step has no use for.

Importing one, subclassing what is in it and decorating with it does no harm; calling it while the
model is built or runs stops the trace at the place of the call.
"""

from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from bevdiag.source.failures import Remedy, stopped

OF_KERNELS = (
    *("MinkowskiEngine", "apex", "cupy", "flash_attn", "mamba_ssm"),
    *("natten", "pytorch3d", "torchsparse", "xformers"),
)
"""Packages that compute on a GPU alone: to install one helps no prediction."""
OF_DATA_SETS = ("av2", "lyft_dataset_sdk", "nuscenes", "waymo_open_dataset")
"""Packages that read a data set's own files, which training has and a synthetic scene has not."""
_armed: list[bool] = []


def arm() -> None:
    """From here on, a call is an error."""
    _armed[:] = [True]


class Inert:
    """Stands for anything in a package that is not there."""

    def __init__(self, *args: Any, **_: Any) -> None:
        named = args[0] if args and isinstance(args[0], str) else "?"
        object.__setattr__(self, "_name", named)

    def __getattr__(self, name: str) -> Any:
        return _inert(f"{self._name}.{name}", name)

    def __call__(self, *args: Any, **_: Any) -> Any:
        if not _armed:
            only = args[0] if len(args) == 1 else None
            return only if callable(only) else self
        if self._name.partition(".")[0] in OF_KERNELS:
            raise stopped(
                f"{self._name} is called, of a package of GPU kernels that has no stub: what it "
                "allocates is not known, installed or not",
                Remedy.KERNEL,
            )
        raise stopped(
            f"{self._name} is called, which is not installed here and has no stub", Remedy.PACKAGE
        )

    def __iter__(self) -> Any:
        return iter(())

    def __instancecheck__(self, _: object) -> bool:
        return False

    def __subclasscheck__(self, _: type) -> bool:
        return False

    def __mro_entries__(self, _: Any) -> tuple[type, ...]:
        stop = self.__call__

        class Base:
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                if args or kwargs:  # what takes nothing may do nothing
                    stop()

        return (Base,)


def _inert(full: str, name: str) -> Any:
    """Make what an inert module or object has under a name; an exception where it names one."""
    if name.startswith("__"):
        raise AttributeError(name)
    # `except` and warnings' filters take nothing but classes.
    for ending, kind in (("Error", Exception), ("Exception", Exception), ("Warning", Warning)):
        if name.endswith(ending):
            return type(name, (kind,), {})
    return Inert(full)


class InertModule(ModuleType):
    """A module of which every name exists, in a version that no code is too new for."""

    __version__ = "9999.0"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        # Code that only asks whether a package exists looks here.
        self.__spec__ = ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> Any:
        return _inert(f"{self.__name__}.{name}", name)


def filled(name: str, kind: type[ModuleType] = ModuleType, /, **members: Any) -> ModuleType:
    """Make a module of these members."""
    module = kind(name)
    module.__dict__.update(members)
    return module


def package(members: Mapping[str, Mapping[str, Any]]) -> dict[str, ModuleType]:
    """Make inert modules of their members by name; one inside another is a member of that."""
    made = {name: filled(name, InertModule, **inside) for name, inside in members.items()}
    for name, module in made.items():
        around, _, last = name.rpartition(".")
        if around in made:
            setattr(made[around], last, module)
    return made
