"""Mistakes the user can mend: the command shows them as one line and exits with code 2."""


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
