"""Messages between a run and its worker processes: pickles with their length in front, over a socket pair.

Parent and child of one run, of one user, on one machine: nothing here is stored or crosses a network.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

_HEAD = struct.Struct("<Q")


class Channel:
    """One end of the connection.

    Args:
        connection: a connected, blocking stream socket, owned from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._buffer = bytearray()

    def send(self, message: Any) -> None:
        """One message.

        Raises:
            OSError: the other end is gone.
        """
        data = pickle.dumps(message, protocol=5)
        self.connection.sendall(_HEAD.pack(len(data)) + data)

    def receive(self) -> Any:
        """The next message; waits for it.

        Raises:
            EOFError: the other end is gone.
        """
        while True:
            found, message = self._next()
            if found:
                return message
            self._read()

    def arrived(self) -> list[Any]:
        """The messages that are complete once what is there has been read; waits for nothing.

        Raises:
            EOFError: the other end is gone, and there is no message any more.
        """
        gone = False
        while not gone:
            try:
                self._read(socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except EOFError:
                gone = True
        messages: list[Any] = []
        while True:
            found, message = self._next()
            if not found:
                break
            messages.append(message)
        if gone and not messages:
            raise EOFError
        return messages

    def _read(self, flags: int = 0) -> None:
        try:
            data = self.connection.recv(1 << 20, flags)
        except ConnectionError:
            data = b""
        if not data:
            raise EOFError
        self._buffer += data

    def _next(self) -> tuple[bool, Any]:
        if len(self._buffer) < _HEAD.size:
            return False, None
        (size,) = _HEAD.unpack_from(self._buffer)
        end = _HEAD.size + size
        if len(self._buffer) < end:
            return False, None
        message = pickle.loads(bytes(self._buffer[_HEAD.size : end]))
        del self._buffer[:end]
        return True, message

    def close(self) -> None:
        """Hang up."""
        self.connection.close()
