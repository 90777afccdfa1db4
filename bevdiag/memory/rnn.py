"""Scratch memory of cuDNN's recurrent layers: what backward needs again, and the workspace.

The reserve holds each layer's activations: an LSTM's four gates and its cell, a GRU's six parts, a
plain cell's one, and between layers their outputs, with a bit an element where dropout is. It is
exact in all of some 60 cases measured on an H200 (cuDNN 9.19).

The workspace of an LSTM or a GRU is, for each layer, cuBLAS's 8 MiB and a copy of the weights, and
for each position of the batch the products with the gates, inputs and outputs: within 3 % where the
hidden size is at least 200. Smaller ones and plain cells run on other kernels that take more.
"""

from bevdiag.memory.requests import RnnCall, WorkspaceBytes

LIBRARY_BYTES = 8 * 1024**2
ALIGNMENT_BYTES = 256
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
KEPT_PARTS = {"lstm": 5, "gru": 6, "rnn_tanh": 1, "rnn_relu": 1}
LARGE_HIDDEN = 200
MOST = 4
"""Other kernels were seen to take up to so many times the formula."""


def weight_elements(call: RnnCall) -> int:
    """Return the elements of all weights, biases left out."""
    first = call.inputs + call.hidden
    others = (call.layers - 1) * (call.directions + 1) * call.hidden
    return call.directions * GATES[call.kind] * call.hidden * (first + others)


def bias_elements(call: RnnCall) -> int:
    """Return the elements of both biases of each gate."""
    return 2 * call.layers * call.directions * GATES[call.kind] * call.hidden


def reserve_bytes(call: RnnCall) -> int:
    """Return what lives from the forward to the backward pass."""
    states = call.steps * call.batch * call.hidden * call.directions
    parts = call.layers * KEPT_PARTS[call.kind] + call.layers - 1
    nbytes = states * parts * call.element_bytes + ALIGNMENT_BYTES
    if call.has_dropout:
        nbytes += (call.layers - 1) * states // 8
    return nbytes


def rnn_workspace(call: RnnCall) -> WorkspaceBytes:
    """Return the workspace of the forward call, and of each of the two backward calls."""
    hidden, inputs = call.hidden, call.inputs
    if call.kind == "gru":
        width = 4 * hidden + (2 if call.layers == 1 else 1) * inputs
        width += hidden if inputs > hidden else 0
        held = 5 * hidden
    else:
        width = 5 * hidden + (2 if inputs > hidden else 1) * inputs
        held = 10 * hidden
    per_sample = call.directions * (call.steps * width + call.layers * held)
    batch = call.batch * (per_sample * call.element_bytes + 8)
    libraries = call.layers * call.directions * LIBRARY_BYTES
    expected = libraries + weight_elements(call) * call.element_bytes + batch + ALIGNMENT_BYTES
    if call.has_dropout:
        # Outputs before their dropout.
        expected += call.steps * call.batch * hidden * call.directions * call.element_bytes
    is_known = call.kind in ("lstm", "gru") and hidden >= LARGE_HIDDEN
    slack = expected * 3 // 100
    low = expected - slack if is_known and call.directions == 1 else 0
    return WorkspaceBytes(low, expected, expected + slack if low else MOST * expected)
