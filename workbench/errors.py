"""Errors meant for a person: one line that names the file or parameter and says what to do."""


class WorkbenchError(Exception):
    """Something the user can put right. The command line prints the message alone and exits with `exit_code`."""

    exit_code = 1


class UsageError(WorkbenchError):
    """A parameter is unknown, of the wrong type or outside its range; nothing was started."""

    exit_code = 2


def require(condition: bool, message: str) -> None:
    """Raise UsageError(message) unless `condition` holds."""
    if not condition:
        raise UsageError(message)
