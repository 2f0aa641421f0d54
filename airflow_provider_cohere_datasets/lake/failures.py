"""What storages raise: every one has exceptions of its own."""

from __future__ import annotations

import errno
import io

#: Trying again does not help against these.
_PERMANENT = (
    FileNotFoundError,
    NotADirectoryError,
    IsADirectoryError,
    FileExistsError,
    io.UnsupportedOperation,
)
_PERMANENT_ERRNO = (errno.EBUSY, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS)
#: Nor against these answers: wrong credentials, too few rights, no such bucket or container.
_PERMANENT_STATUS = (401, 403, 404)
#: How gcsfs tells of too few rights, without a status.
_FORBIDDEN = "Forbidden: "


def _status(error: BaseException) -> object:
    """Return what the storage answered, as the libraries of Azure and of gcsfs tell it."""
    return getattr(error, "status_code", None) or getattr(error, "code", None)


def is_forbidden(error: BaseException) -> bool:
    """Return whether we have too few rights for what was asked for."""
    return isinstance(error, PermissionError) or _status(error) == 403 or str(error).startswith(_FORBIDDEN)


def is_permanent(error: BaseException) -> bool:
    """Return whether trying again does not help."""
    if is_forbidden(error) or (isinstance(error, OSError) and error.errno in _PERMANENT_ERRNO):
        return True
    return isinstance(error, _PERMANENT) or _status(error) in _PERMANENT_STATUS


def sentence(error: BaseException) -> str:
    """Return what happened on one line, without a full stop."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError) and text.startswith(("http://", "https://")):
        text = "its bucket does not exist"  # gcsfs tells only the URL that it asked for.
    elif text.startswith(_FORBIDDEN):
        text = text.partition("\n")[2] or text
    elif hasattr(error, "error_code"):
        text = text.partition("\n")[0]  # Azure adds the whole answer.
    return " ".join(text.split())[:300].rstrip(".")
