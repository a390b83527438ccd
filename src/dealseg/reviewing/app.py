"""What each address of the page answers: a function from request to response."""

import json
import re
from collections.abc import Callable
from http import HTTPStatus
from importlib.resources import files

from dealseg.data.kept import cache_folder, keep
from dealseg.data.palette import colour_of
from dealseg.errors import ConfigError, DealsegError, one_line
from dealseg.reviewing import drawing
from dealseg.reviewing.actions import Action, applied, parse_action
from dealseg.reviewing.album import Album
from dealseg.reviewing.entries import Query, counts, described, find, selected
from dealseg.reviewing.guard import Asked, Guard
from dealseg.reviewing.store import ReviewStore
from dealseg.reviewing.web import MOST, Request, Response, as_json, failure

PAGE = 200
"""Masks described in one answer, at most."""

_CSS, _JS = "text/css; charset=utf-8", "text/javascript; charset=utf-8"
_SCRIPTS = ("review", "server", "deck", "grid", "viewer", "tags", "keys")
_STATIC = {
    "house.css": ("report/style.css", _CSS),  # colours and type are the report's
    "review.css": ("reviewing/static/review.css", _CSS),
    "icon.svg": ("reviewing/static/icon.svg", "image/svg+xml"),
    **{f"{name}.js": (f"reviewing/static/{name}.js", _JS) for name in _SCRIPTS},
}
_FOR_EVER = "private, max-age=31536000, immutable"


class App:
    """The page and its answers."""

    def __init__(self, album: Album, store: ReviewStore, guard: Guard):
        self._album, self._store, self._guard = album, store, guard
        self._entries = album.entries
        self._pictures: dict[str, Callable[[int], Response]] = {
            "image": self._image,
            "filled": lambda place: _png(drawing.filled(self._small_mask(place))),
            "outlined": lambda place: _png(drawing.outlined(self._small_mask(place))),
            "depth": self._depth,
            "thumbnail": self._thumbnail,
        }

    def answer(self, request: Request) -> Response:
        """Return the response to a request; whatever is wrong becomes one of its own."""
        try:
            token = request.parameter("token") if request.path == "/" else ""
            asked = Asked(request.method, request.headers, token)
            if refusal := self._guard.refusal(asked):
                return failure(HTTPStatus.FORBIDDEN, refusal)
            return self._post(request) if request.method == "POST" else self._get(request)
        except ConfigError as error:
            return failure(HTTPStatus.BAD_REQUEST, one_line(error))
        except (DealsegError, OSError) as error:
            return failure(HTTPStatus.CONFLICT, one_line(error))

    def _get(self, request: Request) -> Response:
        routes: dict[str, Callable[[Request], Response]] = {
            "/": lambda _: self._page(),
            "/api/session": lambda _: self._session(),
            "/api/order": self._order,
            "/api/items": self._items,
            "/api/find": self._find,
        }
        if request.path in routes:
            return routes[request.path](request)
        if found := re.fullmatch(r"/static/([a-z]+\.[a-z]+)", request.path):
            return _static(found[1])
        if found := re.fullmatch(r"/api/facts/([0-9]{1,9})", request.path):
            return self._with(found[1], self._facts)
        found = re.fullmatch(r"/picture/([0-9]{1,9})/([a-z]+)", request.path)
        if found and (draw := self._pictures.get(found[2])):
            return self._with(found[1], lambda place: self._picture(request, place, draw))
        return failure(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _post(self, request: Request) -> Response:
        found = re.fullmatch(r"/api/act/([0-9]{1,9})", request.path)
        if found is None:
            return failure(HTTPStatus.NOT_FOUND, "there is nothing here")
        if request.header("content-type").partition(";")[0].strip() != "application/json":
            return failure(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        if len(request.body) > MOST:
            return failure(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MOST} bytes")
        try:
            content = json.loads(request.body)
        except (ValueError, RecursionError):
            return failure(HTTPStatus.BAD_REQUEST, "expected JSON")
        action = parse_action(content, self._album.classes)
        return self._with(found[1], lambda place: self._act(place, action))

    def _with(self, text: str, answer: Callable[[int], Response]) -> Response:
        if int(text) >= len(self._entries):
            return failure(HTTPStatus.NOT_FOUND, f"there are {len(self._entries)} masks")
        return answer(int(text))

    def _page(self) -> Response:
        body = files("dealseg").joinpath("reviewing/static/index.html").read_bytes()
        cookie = f"{self._guard.cookie}={self._guard.token}; Path=/; HttpOnly; SameSite=Strict"
        headers = {"Cache-Control": "no-store", "Set-Cookie": cookie}
        return Response(HTTPStatus.OK, body, "text/html; charset=utf-8", headers)

    def _session(self) -> Response:
        colours = [list(colour_of(k + 1)) for k in range(len(self._album.classes))]
        return as_json(
            {
                "folder": str(self._album.masks.root),
                "file": str(self._store.path),
                "classes": list(self._album.classes),
                "colours": colours,
                "confidence": self._album.has_confidence,
                "counts": counts(self._entries, self._store.review),
            }
        )

    def _order(self, request: Request) -> Response:
        return as_json({"ids": self._chosen(request)})

    def _chosen(self, request: Request) -> list[int]:
        query = Query(
            request.parameter("status") or "all",
            request.parameter("tag"),
            request.parameter("order") or "uncertain",
        )
        return selected(self._entries, self._store.review, query)

    def _items(self, request: Request) -> Response:
        words = request.parameter("ids").split(",")
        if len(words) > PAGE or not all(re.fullmatch("[0-9]{1,9}", word) for word in words):
            raise ConfigError(f"ids must be 1 to {PAGE} numbers with commas")
        known = [int(word) for word in words if int(word) < len(self._entries)]
        return as_json({"items": [self._item(place) for place in known]})

    def _item(self, place: int) -> dict[str, object]:
        item = described(place, self._entries[place], self._store.review)
        return {**item, "state": self._album.state(place)}

    def _find(self, request: Request) -> Response:
        found = find(self._entries, self._chosen(request), request.parameter("text"))
        return as_json({"id": found})

    def _facts(self, place: int) -> Response:
        facts = self._album.facts(place)
        size = {"height": facts.height, "width": facts.width}
        depth = self._album.has_depth(place)
        return as_json({**size, "shares": sorted(facts.shares.items()), "depth": depth})

    def _act(self, place: int, action: Action) -> Response:
        entry = self._entries[place]
        review = self._store.change(
            lambda before: applied(before, entry, action, lambda: self._album.in_mask(place))
        )
        return as_json({"item": self._item(place), "counts": counts(self._entries, review)})

    def _picture(self, request: Request, place: int, draw: Callable[[int], Response]) -> Response:
        """Answer with a picture that the browser keeps until image or mask change."""
        state = self._album.state(place)
        headers = {"ETag": f'"{state}"', "Cache-Control": "no-cache"}
        if request.parameter("state") == state:
            headers["Cache-Control"] = _FOR_EVER
        if request.header("if-none-match") == headers["ETag"]:
            return Response(HTTPStatus.NOT_MODIFIED, b"", "", headers)
        made = draw(place)
        return Response(made.status, made.body, made.kind, {**headers, **made.headers})

    def _image(self, place: int) -> Response:
        return _jpeg(drawing.jpeg(drawing.resized(self._album.image(place), drawing.LONG_SIDE)))

    def _small_mask(self, place: int) -> drawing.Mask:
        return drawing.resized(self._album.mask(place), drawing.LONG_SIDE)

    def _depth(self, place: int) -> Response:
        found = self._album.depth(place)
        if found is None:
            return failure(HTTPStatus.NOT_FOUND, "this image has no depth")
        return _png(drawing.resized(drawing.coloured_depth(*found), drawing.LONG_SIDE))

    def _thumbnail(self, place: int) -> Response:
        """Answer with a thumbnail from the user's cache folder, drawn if it is not there yet."""
        state = self._album.state(place)
        file = cache_folder() / "thumbnails" / state[:2] / f"{state}.jpg"
        try:
            return _jpeg(file.read_bytes())
        except OSError:
            made = drawing.thumbnail(self._album.image(place), self._album.mask(place))
            data = drawing.jpeg(made, 82)
            keep(file, data)
            return _jpeg(data)


def _jpeg(data: bytes) -> Response:
    return Response(HTTPStatus.OK, data, "image/jpeg")


def _png(pixels: drawing.Pixels | drawing.Layer) -> Response:
    return Response(HTTPStatus.OK, drawing.png(pixels), "image/png")


def _static(name: str) -> Response:
    if name not in _STATIC:
        return failure(HTTPStatus.NOT_FOUND, "there is nothing here")
    place, kind = _STATIC[name]
    body = files("dealseg").joinpath(place).read_bytes()
    headers = {"Cache-Control": "no-cache"}
    return Response(HTTPStatus.OK, body, kind, headers)
