"""What happens when a module is handed another number of channels than it was built for."""

from bevdiag.errors import BevdiagError


class ChannelMismatch(BevdiagError):  # noqa: N818 - named after what is found
    """A module was declared for one number of channels and is fed another.

    Attributes:
        module: path of the module whose declaration is wrong, e.g. "map_to_bev_module".
        declared: channels that the config declares.
        found: channels that arrive.
    """

    def __init__(self, module: str, declared: int, found: int) -> None:
        self.module = module
        self.declared = declared
        self.found = found
        super().__init__(
            f"{module} declares {declared} channels, but {found} arrive: declare {found}"
        )

    def __reduce__(self) -> tuple[type["ChannelMismatch"], tuple[str, int, int]]:
        """How it travels between processes."""
        return type(self), (self.module, self.declared, self.found)
