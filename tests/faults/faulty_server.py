"""Local HTTP server with the faults of real servers, one for each path."""

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import SO_LINGER, SOL_SOCKET
from socketserver import StreamRequestHandler, ThreadingTCPServer
from struct import pack

BODY = bytes(range(256)) * 64
"""Content of every path of a correct server. [16 KiB]"""


class FaultyServer(ThreadingTCPServer):
    """Server that listens on its own port until the block of `faulty_server` ends.

    Attributes:
        asked: Number of requests by method and path, e.g. ('GET', '/short').
        stop: Set at the end, for handlers that keep a client waiting.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[tuple[str, str]] = Counter()
        self.stop = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(StreamRequestHandler):
    server: FaultyServer

    def handle(self) -> None:
        try:
            method, path, _ = self.rfile.readline().decode("latin-1").split(" ", 2)
            while self.rfile.readline().strip():
                pass
            self.server.asked[method, path] += 1
            _HABITS[path](self, method == "GET", self.server.asked[method, path])
        except (ConnectionError, ValueError):
            return

    def say(self, status: str, body: bytes = b"", **headers: object) -> None:
        """Sends a status line, headers (Content-Length unless it is None) and the body, if any."""
        lines = {"Content-Length": len(body), "Connection": "close"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
        self.wfile.write(f"HTTP/1.1 {status}\r\n{text}\r\n".encode() + body)

    def reset(self) -> None:
        """Closes the connection so that the client gets a reset instead of an end of file."""
        self.connection.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        self.connection.close()


def _silent(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.server.stop.wait()


def _falls_silent(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY[:5000] if is_get else b"", Content_Length=len(BODY))
    if is_get:
        to.server.stop.wait()


def _trickle(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", Content_Length=len(BODY))
    for start in range(0, len(BODY) if is_get else 0, len(BODY) // 16):
        to.wfile.write(BODY[start : start + len(BODY) // 16])
        time.sleep(0.05)


def _reset_once(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY[: 5000 if time_asked == 1 else None] if is_get else b"", Content_Length=len(BODY))
    if is_get and time_asked == 1:
        time.sleep(0.05)
        to.reset()


def _fails_twice(to: _Handler, is_get: bool, time_asked: int) -> None:
    if time_asked <= 2:
        to.say("500 Internal Server Error")
    else:
        to.say("200 OK", BODY if is_get else b"", Content_Length=len(BODY))


def _short(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY[:5000] if is_get else b"", Content_Length=len(BODY))


def _shorter_than_head(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY[:5000] if is_get else b"", Content_Length=5000 if is_get else len(BODY))


def _long(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY if is_get else b"", Content_Length=5000)


def _longer_than_head(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY if is_get else b"", Content_Length=None if is_get else 5000)


def _endless(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", Content_Length=None)
    while is_get and not to.server.stop.is_set():
        to.wfile.write(BODY)


def _two_versions(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.say("200 OK", BODY if is_get else b"", Content_Length=len(BODY), ETag='"get"' if is_get else '"head"')


def _no_head(to: _Handler, is_get: bool, time_asked: int) -> None:
    if is_get:
        to.say("200 OK", BODY)
    else:
        to.say("405 Method Not Allowed")


def _packed_bomb(to: _Handler, is_get: bool, time_asked: int) -> None:
    packer = zlib.compressobj(9, wbits=31)
    body = packer.compress(bytes(1 << 24)) + packer.flush()
    to.say("200 OK", body if is_get else b"", Content_Length=len(body), Content_Encoding="gzip")


def _no_http(to: _Handler, is_get: bool, time_asked: int) -> None:
    to.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def _status(line: str, **headers: object) -> Callable[[_Handler, bool, int], None]:
    return lambda to, is_get, time_asked: to.say(line, b"", **headers)


_HABITS: dict[str, Callable[[_Handler, bool, int], None]] = {
    "/good": lambda to, is_get, time_asked: to.say("200 OK", BODY if is_get else b"", Content_Length=len(BODY)),
    "/silent": _silent,
    "/falls_silent": _falls_silent,
    "/trickle": _trickle,
    "/reset_once": _reset_once,
    "/403": _status("403 Forbidden"),
    "/404": _status("404 Not Found"),
    "/fails_twice": _fails_twice,
    "/503": _status("503 Service Unavailable"),
    "/429": _status("429 Too Many Requests"),
    "/short": _short,
    "/shorter_than_head": _shorter_than_head,
    "/long": _long,
    "/longer_than_head": _longer_than_head,
    "/endless": _endless,
    "/two_versions": _two_versions,
    "/loop": _status("302 Found", Location="/loop"),
    "/no_head": _no_head,
    "/packed_bomb": _packed_bomb,
    "/no_http": _no_http,
}


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """Starts a server for the duration of the block."""
    with FaultyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stop.set()
            server.shutdown()
            thread.join()
