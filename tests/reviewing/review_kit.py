"""A small data set with masks under review, and ways to ask the page about them."""

import http.client
import json
import threading
from contextlib import contextmanager

import numpy as np
from make_folder import save_palette, scene, write_folder

from dealseg.data import open_dataset
from dealseg.data.mask_set import open_masks
from dealseg.reviewing import ReviewServer
from dealseg.reviewing.app import App
from dealseg.reviewing.guard import Guard
from dealseg.reviewing.web import Request

CONFIDENCE = {"a": 0.9, "b": 0.3, "c": 0.5}
GUARD = Guard(8765, "secret")
OWN = {
    "host": ["127.0.0.1:8765"],
    "origin": ["http://127.0.0.1:8765"],
    "cookie": ["dealseg-review-8765=secret"],
}


def write_masks(root, confidence=CONFIDENCE, names="abcd"):
    """Write masks as `dealseg label` does: a box of class 1, in `c` of class 2, in `d` nothing."""
    for seed, name in enumerate(names):
        mask = scene(seed, value=2 if name == "c" else 1)[2]
        save_palette(root / f"masks/{name}.png", 0 * mask if name == "d" else mask)
    entries = {name: {"confidence": value, "ignored": 0.0} for name, value in confidence.items()}
    manifest = {"classes": ["cup", "plate"], "threshold": 0.4, "masks": entries}
    (root / "labels.json").write_text(json.dumps(manifest))
    return root


def write_both(root):
    """Write data and masks; return both folders."""
    return write_folder(root / "data"), write_masks(root / "masks")


def make_app(root):
    """Return the application over new data and masks, and its folder of masks."""
    from dealseg.reviewing import Album, ReviewStore

    data, masks = write_both(root)
    album = Album(open_masks(masks), open_dataset(data))
    return App(album, ReviewStore(masks / "review.json", album.require_fit), GUARD), masks


def get(app, target, **headers):
    return app.answer(Request("GET", target, {**OWN, **headers}))


def told(app, target):
    """Return the JSON that an address answers."""
    response = get(app, target)
    assert response.status == 200, response.body
    return json.loads(response.body)


def post(app, target, content, **headers):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    kind = {"content-type": ["application/json"]}
    return app.answer(Request("POST", target, {**OWN, **kind, **headers}, body))


@contextmanager
def serving(data, masks, **options):
    """Run a server on a free port in the block."""
    out = options.pop("out", masks / "review.json")
    server = ReviewServer(open_masks(masks), open_dataset(data), out, options.pop("port", 0))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(server, method, target, body=None, headers=None):
    """Send a request as it is, nothing tidied; return the response and its body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    own = {"Cookie": f"{server.guard.cookie}={server.guard.token}"}
    if method == "POST":
        own["Origin"] = f"http://127.0.0.1:{server.server_port}"
        own["Content-Type"] = "application/json"
    given = {**own, **(headers or {})}
    try:
        connection.putrequest(method, target, skip_host="Host" in given)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Length", str(len(data)))
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(data)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def pixels(data):
    """Return the pixels of a picture that was answered."""
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)))
