"""What a process listens on, as Linux tells."""

from pathlib import Path

_TCP_LISTEN, _UNIX_ACCEPTS = "0A", 0x10000


def listening_sockets(process: int) -> list[str]:
    """Return the sockets of a process that others can reach: ports, and paths."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    found = []
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for fields in _table(process, kind):
            is_open = kind.startswith("udp") or fields[3] == _TCP_LISTEN
            if fields[9] in inodes and is_open:
                found.append(f"{kind} {fields[1]}")
    for fields in _table(process, "unix"):
        if fields[6] in inodes and (int(fields[3], 16) & _UNIX_ACCEPTS or len(fields) > 7):
            found.append(f"unix {fields[7:]}")
    return found


def _table(process: int, kind: str) -> list[list[str]]:
    path = Path(f"/proc/{process}/net/{kind}")
    return [line.split() for line in path.read_text().splitlines()[1:]] if path.exists() else []
