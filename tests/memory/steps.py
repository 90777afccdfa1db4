from bevdiag.memory.device import make_target
from bevdiag.memory.events import Category

from ..streams import free, make, mark, stream

MIB, GIB = 2**20, 2**30
UNLIMITED = make_target(torch="2.11.0")


def workspace_stream(call, resident):
    scratch = make(0, "backbone.conv", category=Category.WORKSPACE, request=call)
    return stream(make(resident), mark(1), scratch, free(1))
