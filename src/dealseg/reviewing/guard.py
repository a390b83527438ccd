"""Who may ask: this page in this user's browser, and nobody else.

A server on 127.0.0.1 is within reach of every page that the user opens and of every program on the
machine. The token keeps out programs of other users; the checks of Host and Origin keep out pages
of other sites, by name (DNS rebinding) and by form or fetch (cross-site requests).
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """What a request says, as far as it matters here.

    Attributes:
        method: such as GET.
        headers: values by lower-case name, in their order; a header may be there twice.
        token: as given in the address, or empty.
    """

    method: str
    headers: Mapping[str, Sequence[str]]
    token: str = ""


@dataclass(frozen=True)
class Guard:
    """The rules of one server.

    Attributes:
        port: it listens on.
        token: a secret, random at every start.
    """

    port: int
    token: str

    @property
    def cookie(self) -> str:
        """The cookie's name; cookies are shared by all ports of a host, hence the port."""
        return f"dealseg-review-{self.port}"

    @property
    def address(self) -> str:
        """The address that lets a browser in."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def refusal(self, asked: Asked) -> str | None:
        """Return why a request is refused, or None."""
        port = "" if self.port == 80 else f":{self.port}"
        hosts = {f"{name}{port}" for name in ("127.0.0.1", "localhost")}
        host = asked.headers.get("host", ())
        if len(host) != 1 or host[0].lower() not in hosts:
            return "this server answers to 127.0.0.1 only"
        origins = asked.headers.get("origin", ())
        if any(origin.lower() != f"http://{host[0].lower()}" for origin in origins):
            return "requests of other origins are refused"
        if asked.method == "POST" and len(origins) != 1:
            return "a change must say its origin"
        if asked.token:
            known = self._is_token(asked.token)
        else:
            sites = asked.headers.get("sec-fetch-site", ())
            if any(site not in ("same-origin", "none") for site in sites):
                return "requests of other sites are refused"
            known = any(map(self._is_token, self._cookies(asked)))
        return None if known else "open the address that dealseg review printed"

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode())

    def _cookies(self, asked: Asked) -> list[str]:
        """Return the cookies of our name; other servers on this host may have set odd ones."""
        pairs = [
            part.strip().partition("=")
            for h in asked.headers.get("cookie", ())
            for part in h.split(";")
        ]
        return [value for name, _, value in pairs if name == self.cookie]
