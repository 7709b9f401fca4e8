"""`moorage director rotate-keys`, a process of its own, upon a database that an instance works with meanwhile."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from director.store import tables
from mesh.exits import Exit
from tests.support.command import run_command
from tests.support.plane import MOORAGE
from tests.unit.director.plane import Plane
from tests.unit.director.test_keys import Vault, put, read

DEADLINE = 50
SECRETS = 250
"""More than two batches."""


@pytest.fixture
def vault(director_url: str, tmp_path: Path) -> Iterator[Vault]:
    plane = Plane(director_url)
    (tmp_path / "moorage.toml").write_text(
        f'[director]\nidentity = "unused"\ndatabase = "{director_url}"\ndbos_database = "unused"\n'
        f'sealing_key = "{tmp_path}/sealing.key"\n'
    )
    yield Vault(plane, tmp_path)
    plane.close()


def fill(vault: Vault) -> dict[str, bytes]:
    secrets = {f"api-{n:03d}": f"secret of {n}".encode() for n in range(SECRETS)}
    with vault.plane.transaction() as tx:
        for target_id, secret in secrets.items():
            put(tx, vault.instances[0], vault.application_id, target_id, secret)
    return secrets


def arguments(vault: Vault, *more: str) -> list[str]:
    return ["director", "rotate-keys", "--config", str(vault.key_file.with_name("moorage.toml")), *more]


def rotated(vault: Vault) -> dict[str, Any]:
    done = run_command(*arguments(vault, "-o", "json"))
    assert done.returncode == Exit.OK, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def assert_all_is_under(vault: Vault, data_key: str) -> None:
    assert vault.keys() == [data_key]
    assert {bytes(row["sealed"][1:9]).hex() for row in vault.plane.rows(tables.credentials)} == {data_key}


async def test_an_instance_seals_and_unseals_while_another_process_rotates(vault: Vault) -> None:
    secrets = fill(vault)
    seal, database = vault.instances[0], vault.database
    with (vault.key_file.with_name("out")).open("w+") as out, (vault.key_file.with_name("err")).open("w+") as err:
        process = await asyncio.create_subprocess_exec(
            *MOORAGE, *arguments(vault, "-o", "json"), stdout=out, stderr=err
        )
        try:
            for number in count():
                target_id = f"api-{number * 7 % SECRETS:03d}"
                secrets[target_id] = f"set as number {number}".encode()
                await database.write(put, seal, vault.application_id, target_id, secrets[target_id])
                assert await database.read(read, seal) == secrets
                if process.returncode is not None:
                    break
        finally:
            async with asyncio.timeout(DEADLINE):
                await process.wait()
        out.seek(0)
        err.seek(0)
        output, errors = out.read(), err.read()
    assert process.returncode == Exit.OK, errors
    assert "of credentials.sealed anew" in errors
    assert_all_is_under(vault, json.loads(output)["data_key"])
    assert vault.read(vault.instance()) == secrets


def test_a_rotation_that_is_killed_loses_nothing_and_the_next_one_ends_it(vault: Vault) -> None:
    secrets = fill(vault)
    with subprocess.Popen([*MOORAGE, *arguments(vault)], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("director: made data key ")
        process.send_signal(signal.SIGKILL)
    assert vault.read(vault.instance()) == secrets
    assert_all_is_under(vault, rotated(vault)["data_key"])
    assert vault.read(vault.instance()) == secrets


def test_a_changed_key_file_is_taken_into_use_by_rewrapping(vault: Vault) -> None:
    secrets = fill(vault)
    vault.replace_key_file(b"2" * 32)
    done = run_command(*arguments(vault, "--rewrap"))
    assert done.returncode == Exit.OK, done.stderr
    [key] = vault.plane.rows(tables.data_keys)
    assert done.stdout == f"provider_key:  {key['provider_key_id']}\nrewrapped:     {key['key_id']}\n"
    vault.key_file.with_name("sealing.key.previous").unlink()
    assert vault.read(vault.instance()) == secrets


def test_a_missing_sealing_key_is_one_line_and_an_exit_code(vault: Vault) -> None:
    vault.key_file.unlink()
    done = run_command(*arguments(vault))
    assert (done.returncode, done.stdout) == (Exit.SERVICE_FAILED, "")
    assert done.stderr == f"director: there is no sealing key in {vault.key_file}; bring it back from a backup\n"


def test_a_secret_that_cannot_be_opened_is_named_and_an_exit_code(vault: Vault) -> None:
    fill(vault)
    with vault.plane.transaction() as tx:
        tx.execute(tables.credentials.update().filter_by(target_id="api-007").values(sealed=b"damaged"))
    done = run_command(*arguments(vault))
    assert done.returncode == Exit.SERVICE_FAILED
    assert f"credentials.sealed of {vault.application_id}/api-007/" in done.stdout
    assert "secrets that cannot be opened: 1" in done.stderr


def test_a_database_without_a_plane_is_refused(tmp_path: Path) -> None:
    (tmp_path / "moorage.toml").write_text(
        f'[director]\nidentity = "unused"\ndatabase = "sqlite:///{tmp_path}/none.sqlite"\ndbos_database = "unused"\n'
        f'sealing_key = "{tmp_path}/sealing.key"\n'
    )
    done = run_command("director", "rotate-keys", "--config", str(tmp_path / "moorage.toml"))
    assert done.returncode == Exit.SERVICE_FAILED
    assert "start this version's Director first" in done.stderr
    assert not (tmp_path / "sealing.key").exists()
