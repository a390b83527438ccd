"""Mistakes the user can mend: the command shows them as one line and exits with code 2."""

import re


class DealsegError(Exception):
    """Base of every error whose message is written for the user.

    The message says which file or argument, what was expected, what was found, and the way out.
    """


class DataError(DealsegError):
    """A data set, one of its files, or its description is not as it must be."""


class ConfigError(DealsegError, ValueError):
    """An option or configuration key has a value that cannot work."""


class CheckpointError(DealsegError):
    """Weights or a run folder cannot be read or do not fit the network."""


def one_line(error: Exception) -> str:
    """Return what there is to mend; of an error that crossed processes, its last line alone."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: cannot be read or written ({error.strerror})"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return re.sub(r"^dealseg(\.\w+)+: ", "", lines[-1].strip())
