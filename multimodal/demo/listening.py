"""The socket on which the service listens, taken before anything slow begins."""

import errno
import ipaddress
import socket

from core.errors import UserError

BACKLOG = 2048
"""Connections that may wait while the models are read."""


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free one.

    Whoever starts the service twice, even at once, is told so by the second.

    Raises:
        UserError: if nobody can listen there.
    """
    name = host.removeprefix("[").removesuffix("]")
    where = address_text(name, port)
    if not 0 <= port < 2**16:
        raise UserError(
            f"{where} cannot be listened on (a port is from 0 to 65535); choose another --port"
        )
    try:
        found = socket.getaddrinfo(name or None, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return _open(family, address)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{where} cannot be listened on ({reason}); {_way_out(error)}") from None


def address_text(host: str, port: int) -> str:
    """Return host and port as an address has them: an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether an address reaches this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _open(family: int, address: tuple) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except BaseException:
        opened.close()
        raise
    return opened


def _way_out(error: Exception) -> str:
    code = getattr(error, "errno", None)
    if isinstance(error, socket.gaierror | UnicodeError) or code == errno.EADDRNOTAVAIL:
        return "choose another --host"
    if code == errno.EACCES:
        return "choose a --port from 1024 on"
    return "choose another --port, or --port 0 for one that is free"
