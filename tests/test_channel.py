"""Messages arrive whole, or it is said that they do not."""

import socket
import threading

import pytest

from bevdiag.channel import Channel, GarbledError, make_channel


class _Unmakeable:
    def __reduce__(self) -> tuple[object, ...]:
        return (_fail, ())


def _fail() -> None:
    raise ValueError("not here")


def test_what_is_sent_arrives_in_order_and_both_ways() -> None:
    one, other = make_channel()
    for value in ({"a": [1, None]}, "text", b""):
        one.send(value)
    assert [other.recv(1), other.recv(1), other.recv(1)] == [{"a": [1, None]}, "text", b""]
    other.send(3)
    assert one.recv(1) == 3


def test_a_message_larger_than_any_buffer_arrives() -> None:
    one, other = make_channel()
    large = b"x" * 2**23
    sender = threading.Thread(target=one.send, args=(large,))
    sender.start()
    assert other.recv(20) == large
    sender.join()


def test_what_others_print_is_passed_over() -> None:
    ours, theirs = socket.socketpair()
    mark = bytes(range(16))
    one, other = Channel(ours, mark), Channel(theirs, mark)
    ours.sendall(b"warning: " + mark[:7])
    one.send("sentence")
    ours.sendall(b"more noise")
    one.send("again")
    assert [other.recv(1), other.recv(1)] == ["sentence", "again"]


def test_what_is_written_into_a_message_is_found() -> None:
    ours, theirs = socket.socketpair()
    mark = bytes(range(16))
    one, other = Channel(ours, mark), Channel(theirs, mark)
    probe, listener = socket.socketpair()
    Channel(probe, mark).send("a sentence")
    whole = listener.recv(2**16)
    ours.sendall(whole[:-4] + b"!" + whole[-4:-1])
    with pytest.raises(GarbledError, match="others wrote"):
        other.recv(1)
    one.send("the next one")
    assert other.recv(1) == "the next one"


def test_what_cannot_be_made_again_is_damaged() -> None:
    one, other = make_channel()
    one.send(_Unmakeable())
    with pytest.raises(GarbledError, match="ValueError: not here"):
        other.recv(1)


def test_silence_and_the_end() -> None:
    one, other = make_channel()
    assert not other.ready()
    with pytest.raises(TimeoutError):
        other.recv(0.01)
    one.send(1)
    assert other.ready()
    one.close()
    assert other.recv(1) == 1
    with pytest.raises(EOFError):
        other.recv(1)
