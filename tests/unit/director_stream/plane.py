"""A plane to stream from: writes the Director's tables as its registry does, each change one revision."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from moorage.director.v1.configuration_pb2 import ApiConfiguration, ApplicationConfiguration
from sqlalchemy import Connection, delete, insert, select, update

from director.changes import Action, Kind, Mutation
from director.store.changes import create_plane, read_plane
from director.store.retention import forget_all_but
from director.store.tables import (
    apis,
    applications,
    group_applications,
    group_runtimes,
    groups,
    metadata,
    plane,
    runtimes,
)
from mesh.database import Database

NOW = datetime(2025, 1, 1, tzinfo=UTC)
PLANE_ID = str(uuid.UUID(int=1))


def new_id() -> str:
    return str(uuid.uuid4())


def prepare(database: Database) -> None:
    metadata.create_all(database.engine)
    with database.engine.begin() as tx:
        create_plane(tx, PLANE_ID)


def mutate(tx: Connection) -> Mutation:
    return Mutation(tx, NOW, "spiffe://plane.test/admin/root", "request", new_id)


def add_application(tx: Connection, name: str = "", description: str = "") -> str:
    mutation, application_id = mutate(tx), new_id()
    tx.execute(
        insert(applications).values(
            application_id=application_id,
            name=name or f"app-{application_id}",
            description=description,
            state=1,
            state_time=0,
            create_time=0,
            update_time=0,
            revision=mutation.revision,
            configuration_revision=mutation.revision,
        )
    )
    mutation.record(Action.CREATE, Kind.APPLICATION, application_id, application_id=application_id)
    mutation.finish()
    return application_id


def describe(tx: Connection, *application_ids: str, description: str) -> None:
    """Change some applications in one revision."""
    mutation = mutate(tx)
    for application_id in application_ids:
        tx.execute(
            update(applications)
            .where(applications.c.application_id == application_id)
            .values(description=description, revision=mutation.revision, configuration_revision=mutation.revision)
        )
        mutation.record(Action.UPDATE, Kind.APPLICATION, application_id, application_id=application_id)
    mutation.finish()


def add_api(tx: Connection, application_id: str, name: str = "orders") -> str:
    mutation, api_id = mutate(tx), new_id()
    tx.execute(
        insert(apis).values(
            api_id=api_id,
            application_id=application_id,
            name=name,
            description="",
            target_url="http://127.0.0.1/",
            create_time=0,
            update_time=0,
            revision=mutation.revision,
        )
    )
    tx.execute(
        update(applications)
        .where(applications.c.application_id == application_id)
        .values(configuration_revision=mutation.revision)
    )
    mutation.record(Action.CREATE, Kind.API, api_id, application_id=application_id)
    mutation.finish()
    return api_id


def delete_application(tx: Connection, application_id: str) -> None:
    mutation = mutate(tx)
    _end_memberships(tx, mutation, group_applications.c.application_id == application_id, "application_id")
    tx.execute(delete(apis).where(apis.c.application_id == application_id))
    tx.execute(delete(applications).where(applications.c.application_id == application_id))
    mutation.record(Action.DELETE, Kind.APPLICATION, application_id, application_id=application_id)
    mutation.finish()


def add_group(tx: Connection) -> str:
    mutation, group_id = mutate(tx), new_id()
    tx.execute(
        insert(groups).values(
            group_id=group_id,
            name=f"group-{group_id}",
            description="",
            create_time=0,
            update_time=0,
            revision=mutation.revision,
        )
    )
    mutation.record(Action.CREATE, Kind.GROUP, group_id, group_id=group_id)
    mutation.finish()
    return group_id


def delete_group(tx: Connection, group_id: str) -> None:
    mutation = mutate(tx)
    _end_memberships(tx, mutation, group_applications.c.group_id == group_id, "application_id")
    _end_memberships(tx, mutation, group_runtimes.c.group_id == group_id, "runtime_id")
    tx.execute(delete(groups).where(groups.c.group_id == group_id))
    mutation.record(Action.DELETE, Kind.GROUP, group_id, group_id=group_id)
    mutation.finish()


def add_runtime(tx: Connection, *group_ids: str, name: str = "", event_url: str = "") -> str:
    mutation, runtime_id = mutate(tx), new_id()
    tx.execute(
        insert(runtimes).values(
            runtime_id=runtime_id,
            name=name or f"runtime-{runtime_id}",
            description="",
            event_url=event_url,
            state=1,
            create_time=0,
            update_time=0,
            revision=mutation.revision,
        )
    )
    mutation.record(Action.CREATE, Kind.RUNTIME, runtime_id, runtime_id=runtime_id)
    _join(tx, mutation, group_ids, runtime_ids=[runtime_id])
    mutation.finish()
    return runtime_id


def rename_runtime(tx: Connection, runtime_id: str) -> None:
    mutation = mutate(tx)
    tx.execute(update(runtimes).where(runtimes.c.runtime_id == runtime_id).values(name=new_id()))
    mutation.record(Action.UPDATE, Kind.RUNTIME, runtime_id, runtime_id=runtime_id)
    mutation.finish()


def change_credential(tx: Connection, runtime_id: str) -> int:
    """Change a credential that one Runtime has for itself; the revision."""
    mutation = mutate(tx)
    changed = update(runtimes).where(runtimes.c.runtime_id == runtime_id)
    tx.execute(changed.values(credentials_revision=mutation.revision))
    mutation.record(Action.UPDATE, Kind.CREDENTIAL, new_id(), application_id=new_id(), runtime_id=runtime_id)
    mutation.finish()
    return mutation.revision


def credentials_revision_of(tx: Connection, runtime_id: str) -> int | None:
    return tx.execute(select(runtimes.c.credentials_revision).where(runtimes.c.runtime_id == runtime_id)).scalar()


def delete_runtime(tx: Connection, runtime_id: str) -> None:
    mutation = mutate(tx)
    _end_memberships(tx, mutation, group_runtimes.c.runtime_id == runtime_id, "runtime_id")
    tx.execute(delete(runtimes).where(runtimes.c.runtime_id == runtime_id))
    mutation.record(Action.DELETE, Kind.RUNTIME, runtime_id, runtime_id=runtime_id)
    mutation.finish()


def join(
    tx: Connection, group_id: str, *, application_ids: Iterable[str] = (), runtime_ids: Iterable[str] = ()
) -> None:
    mutation = mutate(tx)
    _join(tx, mutation, [group_id], application_ids, runtime_ids)
    mutation.finish()


def leave(
    tx: Connection, group_id: str, *, application_ids: Iterable[str] = (), runtime_ids: Iterable[str] = ()
) -> None:
    mutation = mutate(tx)
    of_applications, of_runtimes = group_applications.c, group_runtimes.c
    for each in application_ids:
        member = (of_applications.group_id == group_id) & (of_applications.application_id == each)
        _end_memberships(tx, mutation, member, "application_id")
    for each in runtime_ids:
        member = (of_runtimes.group_id == group_id) & (of_runtimes.runtime_id == each)
        _end_memberships(tx, mutation, member, "runtime_id")
    mutation.finish()


def compact(tx: Connection, horizon: int) -> None:
    """Forget the history before `horizon`, unless it is forgotten already."""
    horizon = max(horizon, read_plane(tx).horizon)
    tx.execute(update(plane).values(horizon=horizon))
    for table in (group_applications, group_runtimes):
        tx.execute(delete(table).where(table.c.removed_revision <= horizon))


def forget(tx: Connection, kept: int, most: int) -> bool:
    """Shorten the log by one unit of work, as the Director does; says whether it did."""
    return forget_all_but(tx, kept, most)


def head_of(tx: Connection) -> int:
    return read_plane(tx).revision


def members_of(tx: Connection, group_id: str) -> list[str]:
    """The applications that are in a group."""
    living = group_applications.c.removed_revision.is_(None)
    members = select(group_applications.c.application_id).where(group_applications.c.group_id == group_id, living)
    return list(tx.execute(members).scalars())


def view_of(tx: Connection, runtime_id: str) -> dict[str, ApplicationConfiguration] | None:
    """What a runtime is to see now, found in the plainest way; None when there is no such runtime."""
    if tx.execute(select(runtimes).where(runtimes.c.runtime_id == runtime_id)).first() is None:
        return None
    in_groups = select(group_runtimes.c.group_id).where(
        group_runtimes.c.runtime_id == runtime_id, group_runtimes.c.removed_revision.is_(None)
    )
    seen = select(group_applications.c.application_id).where(
        group_applications.c.group_id.in_(in_groups), group_applications.c.removed_revision.is_(None)
    )
    view = {}
    for row in tx.execute(select(applications).where(applications.c.application_id.in_(seen))).all():
        offered = select(apis).where(apis.c.application_id == row.application_id).order_by(apis.c.api_id)
        view[row.application_id] = ApplicationConfiguration(
            application_id=row.application_id,
            name=row.name,
            description=row.description,
            apis=[
                ApiConfiguration(api_id=api.api_id, name=api.name, target_url=api.target_url)
                for api in tx.execute(offered).all()
            ],
        )
    return view


def _join(
    tx: Connection,
    mutation: Mutation,
    group_ids: Iterable[str],
    application_ids: Iterable[str] = (),
    runtime_ids: Iterable[str] = (),
) -> None:
    for group_id in group_ids:
        for table, column, members in (
            (group_applications, "application_id", application_ids),
            (group_runtimes, "runtime_id", runtime_ids),
        ):
            for member in members:
                living = select(table).where(
                    table.c.group_id == group_id, table.c[column] == member, table.c.removed_revision.is_(None)
                )
                if tx.execute(living).first() is None:
                    values = {"group_id": group_id, column: member, "added_revision": mutation.revision}
                    tx.execute(insert(table).values(**values))
                    mutation.record(Action.ADD, Kind.MEMBER, member, group_id=group_id, **{column: member})


def _end_memberships(tx: Connection, mutation: Mutation, which: object, column: str) -> None:
    table = group_applications if column == "application_id" else group_runtimes
    living = table.c.removed_revision.is_(None)
    for row in tx.execute(select(table).where(which, living)).all():  # type: ignore[arg-type]
        tx.execute(update(table).where(table.c.id == row.id).values(removed_revision=mutation.revision))
        member = getattr(row, column)
        mutation.record(Action.REMOVE, Kind.MEMBER, member, group_id=row.group_id, **{column: member})
