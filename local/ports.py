"""Takes ports on the loopback, for IPv4 and IPv6 alike, and says so in one sentence when a port cannot be had."""

import errno
import socket

from local.settings import LocalError


def listen(port: int) -> list[socket.socket]:
    """Listening sockets of the IPv4 and, if there is one, the IPv6 loopback. Raises LocalError if the port is taken."""
    first = _bind(socket.AF_INET, port)
    number = first.getsockname()[1]
    try:
        return [first, _bind(socket.AF_INET6, number)]
    except LocalError:
        first.close()
        # A free port is free for IPv4; if IPv6 has it in use, another one is as good.
        if port == 0:
            return listen(0)
        raise
    except OSError:
        return [first]


def _bind(family: socket.AddressFamily, port: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
        opened.listen(1024)
    except OSError as error:
        opened.close()
        if error.errno == errno.EADDRINUSE:
            raise LocalError(port_taken(port, "PORT")) from None
        if error.errno == errno.EACCES:
            raise LocalError(f"Port {port} may not be used by this user: set PORT to another port.") from None
        raise
    return opened


def port_taken(port: int, variable: str) -> str:
    """The sentence for a port that another program listens on."""
    return f"Port {port} is already in use: stop the program that uses it, or set {variable} to another port."
