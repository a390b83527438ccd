"""The server: sockets around the application, on 127.0.0.1 and nowhere else."""

import errno
import logging
import os
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from dealseg.data import RgbdDataset
from dealseg.data.mask_set import MaskSet
from dealseg.errors import ConfigError
from dealseg.reviewing.album import Album
from dealseg.reviewing.app import App
from dealseg.reviewing.guard import Guard
from dealseg.reviewing.store import ReviewStore
from dealseg.reviewing.web import HEADERS, MOST, Request, Response, failure

PORT = 8765
"""Taken where none is given and it is free."""

log = logging.getLogger("dealseg")


class ReviewServer(ThreadingHTTPServer):
    """The page on a port of this machine; `serve_forever` runs it.

    Attributes:
        album: the masks.
        store: the review file.
        guard: knows the address that lets a browser in.
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would share a port with another

    def __init__(self, masks: MaskSet, dataset: RgbdDataset, out: Path, port: int | None = None):
        """Read masks and review, and take the port.

        Args:
            masks: to review.
            dataset: their images.
            out: the review file, new or to go on with.
            port: to listen on, 0 for any that is free; by default PORT, or any if it is taken.

        Raises:
            DataError: if the masks are not of the data, or the review does not fit.
            ConfigError: if the port cannot be had.
        """
        self.album = Album(masks, dataset)
        self.store = ReviewStore(out, self.album.require_fit)
        self._bind(port)
        self.guard = Guard(self.server_port, secrets.token_urlsafe(24))
        self.app = App(self.album, self.store, self.guard)

    def _bind(self, port: int | None) -> None:
        if port is not None and not 0 <= port <= 65535:
            raise ConfigError(f"--port must be in [0, 65535], got {port}")
        try:
            super().__init__(("127.0.0.1", PORT if port is None else port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port is None:
                super().__init__(("127.0.0.1", 0), _Handler)
                return
            hint = "take another one, or 0 for any that is free"
            raise ConfigError(f"--port {port}: cannot be had ({error.strerror}); {hint}") from error

    def server_close(self) -> None:
        """Let go of the port, once the change that is being written is on disk."""
        super().server_close()
        self.store.close()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """Say nothing of browsers that hang up in mid-answer."""
        log.debug("a request ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    """Reads a request off a socket and writes the application's answer."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1  # headers and body leave together, or the client's delayed answer costs 40 ms
    disable_nagle_algorithm = True
    server: ReviewServer

    def version_string(self) -> str:
        """Tell nothing of Python and its version."""
        return "dealseg"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep requests off the terminal."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Refuse what is no request of ours as everything is refused: one line, no page."""
        self.close_connection = True
        status = HTTPStatus(code)
        self._send(failure(status, message or explain or status.phrase))

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer(b"")

    def do_HEAD(self) -> None:
        """Answer a GET without its body."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Read the body if its length is told and bearable, and answer."""
        told = self.headers.get_all("Content-Length", [])
        length = int(told[0]) if len(told) == 1 and told[0].isascii() and told[0].isdigit() else -1
        if not 0 <= length <= MOST or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            at_most = f"expected a Content-Length of at most {MOST} bytes"
            self._send(failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, at_most))
            return
        self._answer(self.rfile.read(length))

    def _answer(self, body: bytes) -> None:
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        method = "POST" if self.command == "POST" else "GET"
        try:
            response = self.server.app.answer(Request(method, self.path, headers, body))
        except Exception:
            log.exception("%s %s", self.command, self.path.partition("?")[0])
            response = failure(HTTPStatus.INTERNAL_SERVER_ERROR, "a mistake in dealseg; see above")
        self._send(response)

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {**HEADERS, **response.headers}.items():
            self.send_header(name, value)
        if response.kind:
            self.send_header("Content-Type", response.kind)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
