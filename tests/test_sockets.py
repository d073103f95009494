import os
import socket
from pathlib import Path

from tests.sockets import listening_sockets


def test_what_listens_is_found(tmp_path: Path):
    assert listening_sockets(os.getpid()) == []
    with socket.create_server(("127.0.0.1", 0)):
        (found,) = listening_sockets(os.getpid())
        assert found.startswith("tcp 0100007F:")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        server.listen()
        (found,) = listening_sockets(os.getpid())
        assert found.startswith("unix ")
    one, two = socket.socketpair()
    with one, two:
        assert listening_sockets(os.getpid()) == []
