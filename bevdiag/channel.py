"""Messages between a process and its parent, over a descriptor that others may write to as well.

The parent gives every message a mark that nobody else knows. What comes without it, such as what a
library prints to a descriptor that it takes for its own, is passed over; what was written into the
middle of a message is found by its checksum.
"""

import pickle
import secrets
import select
import socket
import struct
import time
import zlib
from multiprocessing.reduction import ForkingPickler
from typing import Any

_MARK_BYTES = 16
_HEAD = struct.Struct(">QI")
"""The length of a message in bytes, and its checksum."""
_CHUNK = 2**20


class GarbledError(Exception):
    """A message is not as it was sent."""


def make_channel() -> "tuple[Channel, Channel]":
    """Return the two ends of a new channel."""
    ours, theirs = socket.socketpair()
    mark = secrets.token_bytes(_MARK_BYTES)
    return Channel(ours, mark), Channel(theirs, mark)


class Channel:
    """One end of a channel, which can be handed to a child process that is being started.

    Args:
        stream: a connected socket, which is then the channel's own.
        mark: what every message begins with, at both ends.
    """

    def __init__(self, stream: socket.socket, mark: bytes) -> None:
        self._stream = stream
        self._mark = mark
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the descriptor, for waiting."""
        return self._stream.fileno()

    def close(self) -> None:
        """Let go of it."""
        self._stream.close()

    def send(self, value: object) -> None:
        """Hand over anything that can be pickled, waiting while the other end is behind.

        Raises:
            OSError: there is no other end any more.
        """
        self.send_pickled(ForkingPickler.dumps(value))

    def send_pickled(self, message: "bytes | memoryview") -> None:
        """Like `send`, of what has been pickled."""
        self._stream.sendall(self._mark + _HEAD.pack(len(message), zlib.crc32(message)))
        self._stream.sendall(message)

    def ready(self) -> bool:
        """Whether `recv` need not wait; takes what has come so far.

        Raises:
            EOFError: nothing will come any more.
        """
        while not self._is_whole():
            try:
                self._take(self._stream.recv(_CHUNK, socket.MSG_DONTWAIT))
            except BlockingIOError:
                return False
        return True

    def recv(self, seconds: float | None = None) -> Any:
        """Receive the next thing that was sent.

        Raises:
            EOFError: nothing will come any more.
            GarbledError: it is damaged, or cannot be made again here.
            TimeoutError: it has not come within so many seconds.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._is_whole():
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            poll = select.poll()
            poll.register(self._stream, select.POLLIN)
            if not poll.poll(None if left is None else 1000 * left):
                raise TimeoutError
            self._take(self._stream.recv(_CHUNK))
        length, checksum = _HEAD.unpack_from(self._received, _MARK_BYTES)
        begin = _MARK_BYTES + _HEAD.size
        message = bytes(self._received[begin : begin + length])
        del self._received[: begin + length]
        if zlib.crc32(message) != checksum:
            raise GarbledError("others wrote into it")
        try:
            return pickle.loads(message)
        except Exception as error:  # its parts may not be there, or do anything when they are made
            raise GarbledError(f"{type(error).__name__}: {error}") from error

    def _take(self, chunk: bytes) -> None:
        if not chunk:
            raise EOFError
        self._received += chunk

    def _is_whole(self) -> bool:
        """Whether a message is there, now at the beginning of what has been received."""
        begin = self._received.find(self._mark)
        if begin < 0:
            # The end may be the beginning of a mark.
            del self._received[: max(0, len(self._received) - _MARK_BYTES + 1)]
            return False
        del self._received[:begin]
        if len(self._received) < _MARK_BYTES + _HEAD.size:
            return False
        length, _ = _HEAD.unpack_from(self._received, _MARK_BYTES)
        return bool(len(self._received) >= _MARK_BYTES + _HEAD.size + length)
