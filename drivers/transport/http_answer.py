"""Reads an HTTP/1.1 answer from bytes as they arrive (RFC 9112). Strict: what is not clear is no answer."""

from __future__ import annotations

import re
import zlib

_HEAD_END = b"\r\n\r\n"
_LARGEST_HEAD = 64 << 10
_LARGEST_LINE = 4096
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?")
_GZIP_BITS = 31


class BadAnswer(Exception):
    """What arrived is no HTTP answer, or is too large; the text says which."""


class Headers(dict[str, str]):
    """Header fields by name, whatever its case; repeated ones are joined by commas."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        """Return a field's text."""
        return super().get(name.lower(), default)


class AnswerReader:
    """Takes bytes until one answer is complete.

    Args:
        largest: Bytes that a body may have, unpacked.

    Attributes:
        status: Status code; 0 before the head has arrived.
        headers: Header fields.
        body: The unpacked body, once `done`.
        done: Whether the answer is complete.
        reusable: Whether the connection may carry another request.
    """

    __slots__ = (
        "_buffer",
        "_chunked",
        "_in_trailer",
        "_largest",
        "_left",
        "_parts",
        "_size",
        "_unpacker",
        "body",
        "done",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, largest: int) -> None:
        self.status = 0
        self.headers = Headers()
        self.body = b""
        self.done = False
        self.reusable = False
        self._largest = largest
        self._buffer = b""
        self._chunked = False
        self._in_trailer = False
        self._left: int | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._unpacker: zlib._Decompress | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises:
            BadAnswer: They are no answer, or more than one.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while not self.status:
            end = data.find(_HEAD_END)
            if end < 0:
                if len(data) > _LARGEST_HEAD:
                    raise BadAnswer("the head of the answer does not end")
                self._buffer = data
                return
            self._read_head(data[:end].decode("latin-1"))
            data = data[end + len(_HEAD_END) :]
        if self._chunked:
            self._read_chunks(data)
        elif self._left is None:
            self._keep(data)
        else:
            if len(data) > self._left:
                raise BadAnswer("more arrived than one answer")
            self._left -= len(data)
            self._keep(data)
            if not self._left:
                self._finish()

    def end(self) -> None:
        """Hear that the venue closed the connection: it ends a body that told no length, and breaks any other.

        Raises:
            BadAnswer: The answer is not complete.
        """
        if not self.status or self._chunked or self._left is not None:
            raise BadAnswer("the venue closed it before the answer was complete")
        self._finish()

    def _read_head(self, text: str) -> None:
        first, *lines = text.split("\r\n")
        found = _STATUS.fullmatch(first)
        if found is None:
            raise BadAnswer(f"the answer is no HTTP: it begins {first[:40]!r}")
        status = int(found[2])
        if status == 101:
            raise BadAnswer("the venue changed the protocol")
        if status < 200:
            return  # the answer itself follows
        headers = Headers()
        for line in lines:
            name, colon, value = line.partition(":")
            name = name.lower()
            if not colon or not name or name != name.strip():
                raise BadAnswer(f"a header that cannot be understood: {line[:40]!r}")
            value = value.strip(" \t")
            known = headers.get(name)
            headers[name] = f"{known}, {value}" if known else value
        self.status, self.headers = status, headers
        self.reusable = found[1] == "1" and "close" not in headers.get("connection").lower()
        self._plan_body(status, headers)

    def _plan_body(self, status: int, headers: Headers) -> None:
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in (204, 304):
            self._left = 0
        elif coding:
            if coding.lower() != "chunked" or length:
                raise BadAnswer(f"a body in the coding {coding[:40]!r}")
            self._chunked = True
        elif length:
            if not (length.isascii() and length.isdigit()):
                raise BadAnswer(f"a body of the length {length[:40]!r}")
            self._left = int(length)
            if self._left > self._largest:
                raise self._too_large()
        else:
            self.reusable = False  # it ends with the connection
        packing = headers.get("content-encoding", "identity").lower()
        if packing == "gzip" and self._left != 0:
            self._unpacker = zlib.decompressobj(_GZIP_BITS)
        elif packing not in ("gzip", "identity"):
            raise BadAnswer(f"a body packed with {packing[:40]!r}")

    def _read_chunks(self, data: bytes) -> None:
        """Take `<length in hex>CRLF<bytes>CRLF` again and again; length 0 is the last, trailers follow it."""
        at = 0
        while not self.done:
            end = data.find(b"\r\n", at)
            if end < 0 or end - at > _LARGEST_LINE:
                if len(data) - at > _LARGEST_LINE:
                    raise BadAnswer("a chunk whose length does not end")
                self._buffer = data[at:]
                return
            line = data[at:end]
            if self._in_trailer:
                at = end + 2
                if not line:
                    if at != len(data):
                        raise BadAnswer("more arrived than one answer")
                    self._finish()
                continue
            size = _chunk_size(line)
            if size > self._largest:
                raise self._too_large()
            if not size:
                self._in_trailer = True
                at = end + 2
                continue
            begin, stop = end + 2, end + 2 + size
            if len(data) < stop + 2:
                self._buffer = data[at:]
                return
            if data[stop : stop + 2] != b"\r\n":
                raise BadAnswer("a chunk of another length than it tells")
            self._keep(data[begin:stop])
            at = stop + 2

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        unpacker = self._unpacker
        if unpacker is not None:
            try:
                data = unpacker.decompress(data, self._largest - self._size + 1)
            except zlib.error as error:
                raise BadAnswer(f"a body that cannot be unpacked: {error}") from error
            if unpacker.unconsumed_tail:
                raise self._too_large()
        self._size += len(data)
        if self._size > self._largest:
            raise self._too_large()
        self._parts.append(data)

    def _finish(self) -> None:
        if self._unpacker is not None and (not self._unpacker.eof or self._unpacker.unused_data):
            raise BadAnswer("a packed body that is not complete")
        parts = self._parts
        self.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.done = True

    def _too_large(self) -> BadAnswer:
        return BadAnswer(f"the answer is larger than {self._largest >> 20} MB")


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadAnswer(f"a chunk of the length {line[:20]!r}")
    return int(digits, 16)
