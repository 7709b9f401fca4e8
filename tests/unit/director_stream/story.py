"""What most tests of the stream begin with, and what they all wait for."""

from collections.abc import Callable

from sqlalchemy import Connection

from mesh.database import Database
from tests.unit.director_stream import plane
from tests.unit.director_stream.reader import Reader

MakeReader = Callable[..., Reader]


class Story:
    """A group with a runtime and an application in it, and another such group."""

    def __init__(self, tx: Connection) -> None:
        self.group, self.other_group = plane.add_group(tx), plane.add_group(tx)
        self.runtime = plane.add_runtime(tx, self.group)
        self.other_runtime = plane.add_runtime(tx, self.other_group)
        self.application, self.other_application = plane.add_application(tx), plane.add_application(tx)
        plane.join(tx, self.group, application_ids=[self.application])
        plane.join(tx, self.other_group, application_ids=[self.other_application])


async def up_to_date(database: Database, *readers: Reader) -> None:
    """Wait until these readers hold exactly what they are to see."""
    for reader in readers:
        view = await database.read(plane.view_of, reader.runtime_id)
        assert view is not None
        await reader.until(lambda each, view=view: each.plane_id != "" and each.view == view)  # type: ignore[misc]
