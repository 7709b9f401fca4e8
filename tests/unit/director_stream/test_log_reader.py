"""Which changes a reading follows up, and which it leaves alone."""

import pytest
from sqlalchemy import Connection

from director.changes import Action, Kind
from director.stream import log_reader
from director.stream.log_reader import Arrival, Reading
from director.stream.view import Views
from mesh.database import Database
from tests.unit.director_stream import plane


class Streamed:
    """A Runtime that is streamed an Application, and the plane's revision then."""

    def __init__(self, tx: Connection) -> None:
        group = plane.add_group(tx)
        self.runtime, self.application = plane.add_runtime(tx, group), plane.add_application(tx)
        plane.join(tx, group, application_ids=[self.application])
        self.views = Views()
        first = log_reader.read(tx, self.views, None, [Arrival(self.runtime, None)])
        self.views.place(self.runtime, frozenset([group]))
        self.views.update(first.groups, first.applications)
        self.views.settle(first.revision)
        self.revision = first.revision

    def reading_after(
        self, tx: Connection, action: Action, kind: Kind, *, of_application: bool, of_runtime: bool
    ) -> Reading:
        """What is read after one change of these, which the log tells of."""
        mutation = plane.mutate(tx)
        mutation.record(
            action,
            kind,
            plane.new_id(),
            application_id=self.application if of_application else None,
            runtime_id=self.runtime if of_runtime else None,
        )
        mutation.finish()
        return log_reader.read(tx, self.views, self.revision, [])


async def followed_up(
    database: Database, action: Action, kind: Kind, *, of_application: bool = False, of_runtime: bool = False
) -> list[str]:
    """What is read again after a change: `runtime`, `group` or `application`."""
    streamed = await database.write(Streamed)
    reading = await database.write(
        streamed.reading_after, action, kind, of_application=of_application, of_runtime=of_runtime
    )
    assert reading.revision == streamed.revision + 1
    read = {"runtime": reading.runtimes, "group": reading.groups, "application": reading.applications}
    return [name for name, found in read.items() if found]


ACTIONS = pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE, Action.DELETE])


@ACTIONS
@pytest.mark.parametrize("kind", [Kind.APPLICATION, Kind.API, Kind.EVENT_API, Kind.BUNDLE])
async def test_a_change_of_what_an_application_has_for_runtimes_has_it_read_again(
    database: Database, kind: Kind, action: Action
) -> None:
    assert await followed_up(database, action, kind, of_application=True) == ["application"]


@ACTIONS
@pytest.mark.parametrize("kind", [Kind.DOCUMENT, Kind.ACCESS_REQUEST, Kind.WEBHOOK])
async def test_a_change_of_what_runtimes_do_not_see_has_nothing_read_again(
    database: Database, kind: Kind, action: Action
) -> None:
    asked = kind is Kind.ACCESS_REQUEST
    assert await followed_up(database, action, kind, of_application=True, of_runtime=asked) == []


@ACTIONS
async def test_a_change_of_a_label_definition_has_nothing_read_again(database: Database, action: Action) -> None:
    assert await followed_up(database, action, Kind.LABEL_DEFINITION) == []


@ACTIONS
async def test_a_shared_credential_is_a_change_of_its_application(database: Database, action: Action) -> None:
    assert await followed_up(database, action, Kind.CREDENTIAL, of_application=True) == ["application"]


@ACTIONS
async def test_a_credential_for_one_runtime_is_no_change_of_the_application(database: Database, action: Action) -> None:
    assert await followed_up(database, action, Kind.CREDENTIAL, of_application=True, of_runtime=True) == ["runtime"]


async def test_a_runtime_that_goes_is_looked_for(database: Database) -> None:
    assert "runtime" in await followed_up(database, Action.DELETE, Kind.RUNTIME, of_runtime=True)
