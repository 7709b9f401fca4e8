"""`moorage up --directors`: several Directors on one PostgreSQL, and one plane to everybody else."""

import json
from pathlib import Path

import pytest

from mesh.exits import Exit
from tests.support.plane import Up, moorage, processes_of
from tests.support.postgresql import PostgresqlServer

pytestmark = pytest.mark.timeout(180)


def test_all_directors_are_named_and_each_that_is_killed_comes_back_where_it_was(
    postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    config, home = tmp_path / "postgresql.toml", tmp_path / "home"
    databases = {key: postgresql.url(postgresql.create_database()) for key in ("database", "dbos_database")}
    config.write_text("[director]\n" + "".join(f'{key} = "{url}"\n' for key, url in databases.items()))
    with Up(home, "--config", str(config), "--directors", "2") as up:
        first = up.plane
        one, other = first.director.split(",")
        assert {"director", "director-2"} < first.pids.keys()
        killed = up.kill("director")
        made = up.moorage("application", "create", "orders", "-o", "json")  # which the other one takes meanwhile
        assert made.returncode == Exit.OK, made.stderr
        up.wait_for_pid("director", other_than=killed)
        killed = up.kill("director-2")
        up.wait_for_pid("director-2", other_than=killed)
        assert up.plane.director == f"{one},{other}"
        token = up.moorage("token", "issue", "--application", "orders").stdout
        paired = up.moorage("pair", "-", "--out", str(tmp_path / "orders"), "-o", "json", stdin=token)
        assert json.loads(paired.stdout)["addresses"]["director"] == first.director
    assert processes_of(home) == []


def test_several_directors_without_a_postgresql_are_refused_with_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "half.toml").write_text('[director]\ndatabase = "postgresql:///director"\n')
    for options, lacking in ((), "database"), (("--config", str(tmp_path / "half.toml")), "dbos_database"):
        done = moorage("up", "--home", str(tmp_path / "home"), "--port", "0", "--directors", "2", *options)
        assert done.returncode == Exit.USAGE
        assert f"and {lacking} of [director] names none: set database and dbos_database there" in done.stderr
    assert processes_of(tmp_path / "home") == []
