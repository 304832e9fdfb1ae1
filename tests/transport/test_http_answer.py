"""HTTP answers, whole and in pieces, in every form that a venue or a proxy before it may send."""

from __future__ import annotations

import gzip

import pytest

from drivers.transport.http_answer import AnswerReader, BadAnswer

PACKED = gzip.compress(b'{"x": 1}' * 50)
GOOD = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Two: a\r\nx-two: b\r\n\r\n{}", 200, b"{}", True),
    "no reason": (b"HTTP/1.1 418\r\ncontent-length:0\r\n\r\n", 418, b"", True),
    "continued": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", 200, b"1", True),
    "no content": (b"HTTP/1.1 204 X\r\n\r\n", 204, b"", True),
    "closing": (b"HTTP/1.1 503 X\r\nConnection: Close\r\nContent-Length: 1\r\n\r\n1", 503, b"1", False),
    "old": (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1", 200, b"1", False),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nX: 1\r\n\r\n",
        200,
        b"abc0123456789",
        True,
    ),
    "packed": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(PACKED), PACKED),
        200,
        b'{"x": 1}' * 50,
        True,
    ),
}
BAD = [
    b"SSH-2.0-OpenSSH\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 101 Switching\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\n1",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n12",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFF\r\n",
]


@pytest.mark.parametrize("step", [1, 3, 10_000])
@pytest.mark.parametrize("name", GOOD)
def test_an_answer_is_read_however_it_is_cut_into_pieces(name, step):
    wire, status, body, reusable = GOOD[name]
    reader = AnswerReader(1000)
    for begin in range(0, len(wire), step):
        assert not reader.done
        reader.feed(wire[begin : begin + step])
    assert (reader.done, reader.status, reader.body, reader.reusable) == (True, status, body, reusable)
    if name == "length":
        assert (
            reader.headers["X-TWO"] == "a, b" and reader.headers.get("none", "-") == "-" and "X-two" in reader.headers
        )


def test_a_body_without_length_ends_with_the_connection_and_no_other_does():
    reader = AnswerReader(1000)
    reader.feed(b"HTTP/1.1 502 Bad\r\nServer: proxy\r\n\r\n<html>")
    assert not reader.done
    reader.end()
    assert reader.done and reader.body == b"<html>" and not reader.reusable
    for begun in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{", GOOD["chunks"][0][:-2]):
        reader = AnswerReader(1000)
        reader.feed(begun)
        with pytest.raises(BadAnswer, match="before the answer was complete"):
            reader.end()


@pytest.mark.parametrize("wire", BAD)
def test_what_is_not_clear_is_no_answer(wire):
    with pytest.raises(BadAnswer):
        AnswerReader(1000).feed(wire)


def test_a_small_packed_body_that_unpacks_to_much_is_refused():
    bomb = gzip.compress(bytes(100_000))
    with pytest.raises(BadAnswer, match="larger"):
        AnswerReader(1000).feed(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(bomb), bomb)
        )
