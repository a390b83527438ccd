"""Requests and responses as values, so that the whole page can be tested without a socket."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from dealseg.errors import ConfigError

MOST = 65536
"""Bytes that the body of a request may have."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Sent with every response: nothing is loaded from elsewhere, nothing elsewhere may embed us."""


@dataclass(frozen=True)
class Request:
    """What was asked for.

    Attributes:
        method: such as GET.
        target: path and query as they came, percent signs untouched.
        headers: values by lower-case name.
        body: of a POST.
    """

    method: str
    target: str
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query; never decoded, so that `%2e` is no dot."""
        return self.target.partition("?")[0]

    def parameter(self, name: str) -> str:
        """Return a value of the query, empty where it has none.

        Raises:
            ConfigError: if the query is longer than any of ours.
        """
        try:
            found = parse_qs(self.target.partition("?")[2], max_num_fields=20)
        except ValueError as error:
            raise ConfigError("too many parameters") from error
        return found.get(name, [""])[0]

    def header(self, name: str) -> str:
        """Return the first value of a header, empty where it is absent."""
        return next(iter(self.headers.get(name, ())), "")


@dataclass(frozen=True)
class Response:
    """What is answered."""

    status: HTTPStatus
    body: bytes
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Answer with JSON that is never kept."""
    body = json.dumps(content).encode()
    return Response(status, body, "application/json", {"Cache-Control": "no-store"})


def failure(status: HTTPStatus, message: str) -> Response:
    """Answer that something went wrong, in one line for people."""
    return as_json({"error": message}, status)
