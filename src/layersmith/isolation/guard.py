"""A hook inside Python that refuses network and writes by a message that says why.

The walls are the kernel's (`landlock`, `namespace`); the hook stands before them for the message's sake, and is all
there is on systems without such walls. It cannot be removed, whatever the code under examination replaces.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_ADDRESSED = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
_CHANGED = {
    "os.remove", "os.rmdir", "os.mkdir", "os.rename", "os.truncate", "os.link", "os.symlink", "os.chmod",
    "shutil.rmtree", "shutil.move",
}  # fmt: skip
_NEW_NAME = {"os.rename": 1, "os.link": 1, "os.symlink": 1}  # which argument is what is made
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LOCAL = ("127.", "localhost", "::1", "0.0.0.0")  # noqa: S104 - not bound to, compared with
LIFTED_BY = "--unconfined"
_NETWORK = f"the network is off while Layersmith runs this code ({LIFTED_BY} allows it)"
_PLACE = f"while Layersmith runs this code it may write only in a scratch folder ({LIFTED_BY} lifts that)"


def install(*, writable: Iterable[Path]) -> None:
    """Refuse, for the rest of this process and of those forked from it, what is meant for elsewhere."""
    roots = tuple(os.path.realpath(path) for path in writable)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITES:
                _require_within(roots, path)
        elif event in _CHANGED:
            for path in dict.fromkeys((arguments[0], arguments[_NEW_NAME.get(event, 0)])):
                _require_within(roots, path)
        elif event in _ADDRESSED and not _is_local(arguments[_ADDRESSED[event]]):
            raise PermissionError(errno.EACCES, _NETWORK)

    sys.addaudithook(hook)


@contextlib.contextmanager
def folders_left_unmade() -> Iterator[None]:
    """A folder for checkpoints or logs that an import would make where it may not is not made, and the import goes on."""
    make = os.mkdir

    def mkdir(*args: Any, **kwargs: Any) -> None:
        try:
            make(*args, **kwargs)
        except PermissionError as error:
            if LIFTED_BY not in str(error):  # the system's own refusal
                raise

    os.mkdir = mkdir
    try:
        yield
    finally:
        os.mkdir = make


def _require_within(roots: tuple[str, ...], path: object) -> None:
    if not isinstance(path, str | bytes | os.PathLike):  # an open file
        return
    name = os.path.realpath(os.fsdecode(path))
    if not name.startswith(roots):
        raise PermissionError(errno.EACCES, _PLACE, name)


def _is_local(address: Any) -> bool:
    """Whether an address is a socket file or this machine's own."""
    host = address[0] if isinstance(address, tuple) and address else address
    if isinstance(address, tuple) or not isinstance(host, str | bytes):
        return host is None or str(host).startswith(_LOCAL) or str(host) == ""
    return os.fsdecode(host).startswith((*_LOCAL, "/", "\0")) or not host
