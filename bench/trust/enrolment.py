"""Enrolment: from a token to a certificate, over a new TLS connection each."""

import contextlib
import os
import signal
import sqlite3
import statistics
import time
from pathlib import Path
from uuid import uuid4

from bench.figures import Figure
from bench.trust import floor as bare
from bench.trust.newcomers import Newcomers, newcomers
from bench.trust.processes import connector, floor
from tests.integration.connector.plane import Plane

ROUNDS = 5
ENROLMENTS = 400
"""In each round of each side."""

WARM_UP = 100
FEW = 100
MANY = 100_000
_ENROLL = "/moorage.connector.v1.Connector/Enroll"


async def measure(home: Path) -> dict[str, Figure]:
    """`enrol.rate`, `enrol.p99` and `ledger.growth`."""
    return {**await _beside_the_floor(home / "floor"), **await _growth(home / "growth")}


async def _beside_the_floor(home: Path) -> dict[str, Figure]:
    async with connector(home) as plane:
        identity = plane.mint.identity("service", "connector")
        async with floor("enrol", identity.folder, authority=str(home / "issuing")) as address:
            ours = _newcomers(plane)
            theirs = Newcomers(address, f"/{bare.SERVICE}/Enroll", plane.mint.root.chain_pem)
            requests = await newcomers(plane, WARM_UP)
            for side in (ours, theirs):
                await side.rate(requests)
            rates: list[float] = []
            floors: list[float] = []
            for _ in range(ROUNDS):
                requests = await newcomers(plane, ENROLMENTS)
                floors.append(await theirs.rate(requests))
                rates.append(await ours.rate(requests))
            half = statistics.median(rates) / 2
            p99: list[float] = []
            floor_p99: list[float] = []
            all_times: tuple[list[float], list[float]] = ([], [])
            for _ in range(ROUNDS):
                requests = await newcomers(plane, ENROLMENTS)
                for side, each, whole in ((theirs, floor_p99, all_times[1]), (ours, p99, all_times[0])):
                    times = await side.times(requests, half)
                    each.append(_p99(times))
                    whole.extend(times)
    what = "token to certificate, each over a new TLS connection, the ledger on disk"
    beside = "beside a bare server that shakes hands, checks the CSR and signs"
    return {
        "enrol.rate": Figure(statistics.median(rates), statistics.median(floors), "1/s", f"{what}, {beside}"),
        "enrol.p99": Figure(
            statistics.median(p99),
            statistics.median(floor_p99),
            "ms",
            f"{what}, 99th percentile at half of that rate, {beside}",
            all_times,
        ),
    }


async def _growth(home: Path) -> dict[str, Figure]:
    """Milliseconds of one enrolment, on a large ledger beside a small one."""
    async with connector(home / "few") as few, connector(home / "many") as many:
        for plane, rows in ((few, FEW), (many, MANY)):
            await plane.end(signal.SIGTERM)
            _fill(plane, rows)
            await plane.start()
        times: dict[str, list[float]] = {"few": [], "many": []}
        for each in range(ROUNDS + 1):
            for name, plane in (("few", few), ("many", many)):
                rate = await _newcomers(plane).rate(await newcomers(plane, ENROLMENTS if each else WARM_UP))
                times[name] += [1e3 / rate] if each else []
    return {
        "ledger.growth": Figure(
            statistics.median(times["many"]),
            statistics.median(times["few"]),
            "ms",
            f"one enrolment where the ledger has {MANY:,} certificates, beside one where it has {FEW}",
        )
    }


def _newcomers(plane: Plane) -> Newcomers:
    return Newcomers(plane.settings["enrolment_address"], _ENROLL, plane.mint.root.chain_pem)


def _fill(plane: Plane, rows: int) -> None:
    """As many parties that have enrolled, each with its token, its certificate and its events."""
    with contextlib.closing(sqlite3.connect(plane.database)) as database, database:
        (authority,) = database.execute("SELECT authority_sha256 FROM authorities").fetchone()
        hour = 3600 * 1_000_000
        begin = time.time_ns() // 1000 - hour // 2
        parties = [(str(uuid4()), f"spiffe://moorage.test/runtime/{uuid4()}", begin + i) for i in range(rows)]
        database.executemany(
            "INSERT INTO tokens (token_id, secret_sha256, spiffe_id, issue_time, expire_time, use_time,"
            " public_key_sha256, issuer) VALUES (?, ?, ?, ?, ?, ?, ?, 'spiffe://moorage.test/admin/ann')",
            ((token, os.urandom(32), party, at, at + hour, at, os.urandom(32)) for token, party, at in parties),
        )
        database.executemany(
            "INSERT INTO certificates (serial_number, spiffe_id, public_key_sha256, certificate_der, authority_sha256,"
            " not_before, not_after, issue_time, token_id, origin, first_use_time) VALUES (?,?,?,?,?,?,?,?,?,1,?)",
            (
                (os.urandom(20).hex(), party, os.urandom(32), os.urandom(600), authority, at, at + hour, at, token, at)
                for token, party, at in parties
            ),
        )
        for action in ("TOKEN_ISSUED", "ENROLLED"):
            database.executemany(
                "INSERT INTO audit (time, action, actor, address, request_id, spiffe_id, token_id, detail)"
                " VALUES (?, ?, '', '127.0.0.1:1', ?, ?, ?, '')",
                ((at, action, str(uuid4()), party, token) for token, party, at in parties),
            )


def _p99(times: list[float]) -> float:
    return statistics.quantiles(times, n=100)[98]
