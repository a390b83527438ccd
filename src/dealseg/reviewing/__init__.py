"""A local page to look through masks: accept them, reject them, edit the images' tags."""

from dealseg.reviewing.album import Album
from dealseg.reviewing.server import ReviewServer
from dealseg.reviewing.store import ReviewStore

__all__ = ["Album", "ReviewServer", "ReviewStore"]
