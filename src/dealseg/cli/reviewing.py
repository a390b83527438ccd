"""The command that shows masks to a person."""

import os
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from dealseg.cli.data import Format, TagsFrom, open_images

if TYPE_CHECKING:
    from dealseg.reviewing import ReviewServer


def review(
    masks: str,
    data: str,
    out: str | None = None,
    port: int | None = None,
    open: bool = True,
    format: Format = "auto",
    split: str | None = None,
    depth_folder: str = "depth",
    tags_from: TagsFrom = "auto",
) -> int:
    """Look through masks in the browser: accept them, reject them, edit tags.

    Args:
        masks: folder that `dealseg label` wrote, or of indexed PNG files with the data's classes.
        data: data set with their images.
        out: file for the decisions, new or to go on with; by default `review.json` in MASKS.
        port: of the page, on this machine only; by default 8765, or any if that is taken.
        open: show the page in the browser.
        format: layout; auto takes what `labels.json` says, else looks.
        split: named part of the data set; by default the one the masks were made for.
        depth_folder: folder of the depth maps.
        tags_from: where the tags of a VOC data set come from; auto takes the first there is.
    """
    from dealseg.data.mask_set import open_masks, read_manifest, recorded_format
    from dealseg.data.review import REVIEW_FILE
    from dealseg.reviewing import ReviewServer

    told = read_manifest(Path(masks))
    said = told.get("split")
    part = split or (said if said != "all" else None)
    layout = recorded_format(told, Path(data)) if format == "auto" else format
    images = open_images(data, layout, part, depth_folder, tags_from)
    found = open_masks(masks, images.classes or None)
    file = Path(out) if out else Path(masks) / REVIEW_FILE
    with ReviewServer(found, images, file, port) as server:
        left = server.album.without_image
        apart = f" ({left} left out: {data} has no image for them)" if left else ""
        by = (
            "least sure first"
            if server.album.has_confidence
            else "by name, for want of confidences"
        )
        print(f"{len(server.album.entries)} masks{apart}, {by}; decisions go to {file}")
        print(f"open {server.guard.address}\nCtrl-C ends it; everything is saved as you go")
        sys.stdout.flush()
        if open and _has_browser():
            webbrowser.open(server.guard.address)
        _serve(server)
    print(_told(server, file))
    return 0


def _has_browser() -> bool:
    """Say whether a page would open in a window and not in this terminal."""
    screens = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(os.environ.get(each) for each in screens)


def _serve(server: "ReviewServer") -> None:
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        print()


def _told(server: "ReviewServer", file: Path) -> str:
    from dealseg.reviewing.entries import counts

    found = counts(server.album.entries, server.store.review)
    kinds = ("accepted", "rejected", "open", "edited")
    return f"{file}: " + ", ".join(f"{found[kind]} {kind}" for kind in kinds)
