"""The control socket: who may use it, what it refuses, and that no client can hold up the engine."""

import asyncio
import contextlib
import os
import resource
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import engine.io.control_socket as control_socket
from engine.io.control_client import ControlClient
from engine.io.control_socket import Asked, ControlServer
from engine.io.control_wire import (
    MAX_REPLY,
    MAX_REQUEST,
    SOCKET_NAME,
    ControlRefused,
    Hello,
    NoAnswer,
    NotRunning,
    PeerIdentity,
)
from engine.kernel.errors import RiskReject, StorageError


class Text(msgspec.Struct):
    text: str = ""


class Service:
    """A control server on a loop of its own, in another thread, as the engine is for a command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: list[tuple[str, str]] = []
        self.ended: list[str] = []
        self.taken: list[int] = []
        self.errors: list[Any] = []
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: self.errors.append(context))
        hello = Hello(pid=os.getpid(), account="paper:0", program="run", since="2024-01-01T00:00:00.000Z")
        self.server = ControlServer(folder, hello, lambda who, why: self.refused.append((who, why)))
        self.server.handle("echo", Text, self.on_echo)
        self.server.handle("talk", Text, self.on_talk)
        self.server.handle("file", Text, self.on_file)
        self.server.handle("flood", Text, self.on_flood)
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.do(lambda: self.server.start(self.loop))

    def do(self, work: Callable[[], Any]) -> Any:
        async def carry_out() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(carry_out(), self.loop).result(10)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for a condition, looking once in each turn of the loop."""
        for _ in range(200_000):
            if self.do(is_so):
                return
        raise AssertionError("it never came true")

    def close(self) -> None:
        self.do(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def on_echo(self, asked: Asked[Text]) -> None:
        if asked.body.text == "bad":
            raise RiskReject("max_order", "100 USD", "500 USD")
        if asked.body.text == "bug":
            raise ZeroDivisionError("bug")
        asked.push(Text("working"))
        asked.finish(asked.body)

    def on_talk(self, asked: Asked[Text]) -> None:
        """Answers later requests of the same connection, as an attached terminal's resize does."""
        asked.peer.on_end.append(lambda: self.ended.append(asked.body.text))
        asked.peer.handle("more", Text, lambda later: later.finish(Text(f"{asked.body.text} and {later.body.text}")))
        asked.finish(asked.body)

    def on_file(self, asked: Asked[Text]) -> None:
        assert len(asked.fds) == 1
        if asked.body.text:
            (fd,) = asked.take_fds()
            os.write(fd, asked.body.text.encode())
            self.taken.append(fd)
        asked.finish()

    def on_flood(self, asked: Asked[Text]) -> None:
        for _ in range(2 * MAX_REPLY // 100_000):
            asked.push(Text("x" * 100_000))
        asked.finish()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    served = Service(folder)
    yield served
    served.close()


class Raw:
    """A client that writes what it likes."""

    def __init__(self, folder: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(10)
        self.socket.connect(str(folder / SOCKET_NAME))
        self.file = self.socket.makefile("rb")
        self.nonce = msgspec.json.decode(self.file.readline())["nonce"]

    def request(self, **changed: Any) -> bytes:
        fields = {"nonce": self.nonce, "number": 1, "kind": "echo", "fds": 0, "body": {"text": "hello"}, **changed}
        return msgspec.json.encode(fields) + b"\n"

    def rest(self) -> list[dict[str, Any]]:
        """Everything the server says until it ends the connection."""
        try:
            return [msgspec.json.decode(line) for line in self.file]
        except ConnectionResetError:
            return []


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_answers_come_in_parts_and_errors_keep_their_class(service: Service) -> None:
    with ControlClient(service.folder) as client:
        assert (client.hello.pid, client.hello.account, client.hello.program) == (os.getpid(), "paper:0", "run")
        assert [part.text for part in client.ask("echo", Text("ü" * 100), Text, 5)] == ["working", "ü" * 100]
        with pytest.raises(RiskReject, match="max_order: 500 USD exceeds the limit 100 USD"):
            list(client.ask("echo", Text("bad"), Text, 5))
        assert [part.text for part in client.ask("talk", Text("first"), Text, 5)] == ["first"]
        assert [part.text for part in client.ask("more", Text("second"), Text, 5)] == ["first and second"]
    service.until(lambda: service.ended == ["first"])
    assert not service.refused


def test_a_handler_that_fails_ends_only_its_connection(service: Service) -> None:
    with ControlClient(service.folder) as client, pytest.raises(NoAnswer):
        list(client.ask("echo", Text("bug"), Text, 5))
    service.until(lambda: bool(service.errors))
    assert isinstance(service.errors[0]["exception"], ZeroDivisionError)
    with ControlClient(service.folder) as client:
        assert len(list(client.ask("echo", Text("fine"), Text, 5))) == 2


def test_x15_replayed_forged_and_malformed_requests_are_refused(service: Service) -> None:
    with ControlClient(service.folder) as other:
        captured = {"nonce": other.hello.nonce}
        cases: list[tuple[str, Callable[[Raw], bytes]]] = [
            ("another session", lambda raw: raw.request(**captured)),
            ("another session", lambda raw: raw.request(nonce="")),
            ("after request 1", lambda raw: raw.request() * 2),
            ("after request 0", lambda raw: raw.request(number=0)),
            ("after request 0", lambda raw: raw.request(number=2)),
            ("malformed", lambda raw: raw.request(admin=True)),
            ("malformed", lambda raw: raw.request(body={"text": 5})),
            ("malformed", lambda raw: b"\n"),
            ("malformed", lambda raw: b"\xff\xfe\n"),
            ("malformed", lambda raw: raw.request()[:-20] + b"\n"),
            ("malformed", lambda raw: b'{"body":' + b"[" * 30_000 + b"]" * 30_000 + b"}\n"),
            ("nothing here answers", lambda raw: raw.request(kind="rearm")),
            ("file descriptors", lambda raw: raw.request(fds=1)),
            ("file descriptors", lambda raw: raw.request(fds=-1)),
            ("larger than", lambda raw: raw.request(body={"text": "x" * MAX_REQUEST})),
            ("larger than", lambda raw: b"x" * (2 * MAX_REQUEST)),
        ]
        for why, forge in cases:
            raw = Raw(service.folder)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                raw.socket.sendall(forge(raw))
            said = raw.rest()
            assert not said or said[-1]["error"] == "ControlRefused"
            service.until(lambda: bool(service.refused))
            who, reason = service.refused.pop()
            assert why in reason
            assert f"pid {os.getpid()}" in who
            assert not service.refused
            if why != "after request 1":
                assert not any("body" in reply and reply["body"] for reply in said), "it was obeyed"
        assert [part.text for part in other.ask("echo", Text("on"), Text, 5)] == ["working", "on"]


def test_x15_another_user_is_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "identify", lambda connection: PeerIdentity(4242, os.geteuid() + 1))
    with pytest.raises(NoAnswer):
        ControlClient(service.folder)
    service.until(lambda: bool(service.refused))
    assert service.refused[0][1] == "a connection of another user"
    assert "pid 4242" in service.refused[0][0]


def test_file_descriptors_arrive_and_never_leak(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "tty"
    with ControlClient(service.folder) as client, path.open("wb") as file:
        before = open_fds()
        list(client.ask("file", Text("written"), Text, 5, fds=[file.fileno()]))
        assert path.read_bytes() == b"written"
        assert not os.get_inheritable(service.taken[0])
        os.close(service.taken[0])
        list(client.ask("file", Text(), Text, 5, fds=[file.fileno()]))  # not taken by the handler
        assert open_fds() == before
    service.until(lambda: not service.server._peers)
    before = open_fds()
    with path.open("wb") as file:
        for count, named in ((1, 0), (2, 1), (4, 5), (20, 1)):
            raw = Raw(service.folder)
            socket.send_fds(raw.socket, [raw.request(kind="file", fds=named, body={})], [file.fileno()] * count)
            raw.rest()
            raw.file.close()
            raw.socket.close()
        half = Raw(service.folder)
        socket.send_fds(half.socket, [half.request(kind="file", fds=1)[:-5]], [file.fileno()])
        half.file.close()
        half.socket.close()
    service.until(lambda: not service.server._peers)
    assert open_fds() == before


def test_p09_a_client_that_does_not_read_is_dropped_and_holds_nobody_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_socket, "STALL_S", 1000)
    raw = Raw(service.folder)
    raw.socket.sendall(raw.request(kind="flood"))
    service.until(lambda: not service.server._peers)
    with ControlClient(service.folder) as client:
        assert len(list(client.ask("echo", Text("fine"), Text, 5))) == 2
    # Less than the bound waits, but not for ever.
    monkeypatch.setattr(control_socket, "STALL_S", 0.2)
    slow = Raw(service.folder)
    slow.socket.sendall(slow.request(body={"text": "y" * 60_000}))
    for number in range(2, 12):
        slow.socket.sendall(slow.request(number=number, body={"text": "y" * 60_000}))
    service.until(lambda: not service.server._peers)


def test_the_oldest_connection_gives_way_to_a_new_one(service: Service) -> None:
    clients = [ControlClient(service.folder) for _ in range(control_socket.MAX_PEERS)]
    with ControlClient(service.folder) as newest:
        assert len(list(newest.ask("echo", Text("panic"), Text, 5))) == 2
    with pytest.raises(NoAnswer):
        list(clients[0].ask("echo", Text(), Text, 5))
    for client in clients:
        client.close()


def test_a_terminal_that_is_served_does_not_give_way(service: Service) -> None:
    terminal = ControlClient(service.folder)
    list(terminal.ask("talk", Text("tty"), Text, 5))
    others = [ControlClient(service.folder) for _ in range(control_socket.MAX_PEERS)]
    assert [part.text for part in terminal.ask("more", Text("still"), Text, 5)] == ["tty and still"]
    for client in (terminal, *others):
        client.close()


def test_without_a_free_descriptor_one_client_gets_in_all_the_same(service: Service) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        clients[0].settimeout(5)
        clients[0].connect(str(service.folder / SOCKET_NAME))
        assert b'"nonce"' in clients[0].recv(4096)
        clients[1].settimeout(5)
        clients[1].connect(str(service.folder / SOCKET_NAME))  # waits in the listener's queue
        clients[0].close()
        assert b'"nonce"' in clients[1].recv(4096)
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for client in clients:
            client.close()


def test_p17_a_dead_holders_socket_is_replaced_and_ours_removed_at_the_end(folder: Path) -> None:
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(folder / SOCKET_NAME))
    stale.close()
    with pytest.raises(NotRunning):
        ControlClient(folder)
    service = Service(folder)
    try:
        assert stat.S_IMODE((folder / SOCKET_NAME).lstat().st_mode) == 0o600
        ControlClient(folder).close()
    finally:
        service.close()
    assert not (folder / SOCKET_NAME).exists()
    with pytest.raises(NotRunning):
        ControlClient(folder)


def test_x08_a_planted_file_link_or_open_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    victim = tmp_path / "victim"
    victim.write_text("precious")

    def refused(where: Path) -> str:
        before = open_fds()
        with pytest.raises(StorageError) as caught:
            ControlServer(where, Hello(), lambda who, why: None).start(loop)
        assert open_fds() == before
        return str(caught.value)

    (folder / SOCKET_NAME).symlink_to(victim)
    assert f"rm {folder / SOCKET_NAME}" in refused(folder)
    (folder / SOCKET_NAME).unlink()
    (tmp_path / "link").symlink_to(folder)
    assert "not a link" in refused(tmp_path / "link")
    folder.chmod(0o755)
    assert f"chmod 700 {folder}" in refused(folder)
    with pytest.raises(StorageError, match="chmod 700"):
        ControlClient(folder)
    loop.close()
    assert victim.read_text() == "precious"


def test_a_path_longer_than_an_address_works(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(mode=0o700, parents=True)
    service = Service(folder)
    try:
        with ControlClient(folder) as client:
            assert len(list(client.ask("echo", Text("far"), Text, 5))) == 2
    finally:
        service.close()


def test_a_holder_that_is_frozen_is_named(folder: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / SOCKET_NAME))
    listener.listen(1)
    with pytest.raises(NoAnswer, match=rf"process {os.getpid()} .*does not answer within 0.1 s"):
        ControlClient(folder, timeout_s=0.1)
    listener.close()


def test_a_server_of_another_protocol_is_named(folder: Path) -> None:
    service = Service(folder)
    service.server.hello = msgspec.structs.replace(service.server.hello, protocol=2)
    try:
        with pytest.raises(ControlRefused, match="use the same version"):
            ControlClient(folder)
    finally:
        service.close()
