"""A server of raw bytes on loopback, for clients that must bear whatever a peer does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

Answer = Callable[[socket.socket, bytes], None]


class Peer:
    """A server of raw bytes: the n-th request of all is answered by the n-th answer, the last one again and again."""

    def __init__(self, *answers: bytes | Answer) -> None:
        self._answers = answers
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/metrics?a=b"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        with sock:
            try:
                while request := sock.recv(65536):
                    answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
                    self.requests.append(request)
                    if isinstance(answer, bytes):
                        sock.sendall(answer)
                    else:
                        answer(sock, request)
                        return
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()
