"""All kinds of trouble, served: the list of URLs, the server behind them and the network between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankclip.data.crawl.shard_job import ShardJob
from rankclip.data.reasons import Reason
from tests.unit.data.crawl.hostile import kinds_addresses, kinds_bodies, kinds_framing, kinds_slow
from tests.unit.data.crawl.hostile.certificates import certificate
from tests.unit.data.crawl.hostile.kinds import Kind, found
from tests.unit.data.crawl.hostile.network import Answer, Network
from tests.unit.data.crawl.hostile.server import Door, Script, Server, Talk

KINDS: tuple[Kind, ...] = (
    *kinds_addresses.KINDS,
    *kinds_framing.KINDS,
    *kinds_bodies.KINDS,
    *kinds_slow.KINDS,
)
CLEAN = tuple(Kind(f"clean{number}", Reason.OK) for number in range(7))
TRAP = Kind("www", Reason.BLOCKED_ADDRESS)
"""A host that redirects name; nothing of it may be fetched."""


@dataclass
class World:
    """What is served, and where."""

    server: Server
    network: Network
    authorities: Path
    """The certificates that a client should trust."""


@contextmanager
def served(folder: Path, clean: Script = found) -> Iterator[World]:
    """The world while the block runs.

    Args:
        folder: takes certificates and the network's log.
        clean: what the hosts without trouble answer.
    """
    doors: dict[str, Door] = {"plain": None, **kinds_slow.DOORS}
    trusted = []
    for name, days in {"secure": 1, "untrusted": 1, "expired": -1}.items():
        host = "secure.example" if name == "secure" else f"secure_{name}.example"
        doors[name], pem = certificate(folder, host, days)
        trusted.append(pem if name != "untrusted" else "")
    (folder / "authorities.pem").write_text("".join(trusted))
    scripts: dict[str, Script] = {kind.name: kind.script for kind in KINDS}
    scripts |= {kind.name: clean for kind in CLEAN}
    server = Server({**scripts, "found": found, "secret": _secret})
    with server.listening(doors) as ports:
        network = _network((*KINDS, *CLEAN, TRAP), ports, folder / "forbidden.log")
        yield World(server, network, folder / "authorities.pem")


def guarded_job(network: Network, *arguments: Any) -> ShardJob:
    """What `coordinate` builds in a worker process, with the network between it and the world."""
    network.install()
    return ShardJob(*arguments)


def rows(clean: int, each: int, kinds: Sequence[Kind] = KINDS) -> list[tuple[Kind, str]]:
    """`each` rows of each kind spread evenly among `clean` rows without trouble; the same every time."""
    trouble = [(kind, kind.address(n)) for n in range(each) for kind in kinds]
    total = clean + len(trouble)
    mixed: list[tuple[Kind, str]] = []
    taken = 0
    for number in range(total):
        if (number + 1) * len(trouble) // total > taken:
            mixed.append(trouble[taken])
            taken += 1
        else:
            kind = CLEAN[number % len(CLEAN)]
            mixed.append((kind, kind.address(number)))
    return mixed


def _secret(talk: Talk) -> None:
    raise AssertionError(f"{talk.path} was fetched")


def _network(kinds: Sequence[Kind], ports: dict[str, int], log: Path) -> Network:
    names: dict[str, tuple[Answer, ...]] = {"localhost": (("127.0.0.1",),)}
    doors: dict[tuple[str, int], int] = {}
    silent = set()
    for number, kind in enumerate(kinds):
        own = f"93.184.{number // 250}.{number % 250 + 1}"
        names[kind.host] = kind.names or ((own,),)
        public = {
            address
            for answer in names[kind.host]
            if isinstance(answer, tuple)
            for address in answer
            if address.startswith("93.184.")
        }
        for address in public:
            if kind.door == "silent":
                silent.add(address)
            elif kind.door == "plain":
                doors[address, 80] = ports["plain"]
            else:
                doors[address, 443] = ports.get(kind.door, 0)
    return Network(names, doors, frozenset(silent), log)
