"""What many Runtimes are to run, found out together, is what it is for each alone."""

import random

import pytest
from moorage.director.v1.application_pb2 import Application, DeleteApplicationRequest, UpdateApplicationRequest
from moorage.director.v1.group_pb2 import AddGroupMembersRequest, RemoveGroupMembersRequest

from director.applications import delete_application, update_application
from director.group_members import add_group_members, remove_group_members
from director.store.desired import read_all_desired, read_desired
from tests.unit.director.plane import Plane


@pytest.mark.parametrize("seed", range(3))
def test_many_are_found_out_together_as_each_alone(plane: Plane, seed: int) -> None:
    draw = random.Random(seed)
    applications = [plane.application().application_id for _ in range(4)]
    groups = [plane.group().group_id for _ in range(3)]
    runtimes = [plane.runtime().runtime_id for _ in range(4)]
    for _ in range(30):
        group, some, other = draw.choice(groups), draw.choice(applications), draw.choice(runtimes)
        match draw.randrange(6):
            case 0 | 1:
                members = AddGroupMembersRequest(group_id=group, application_ids=[some], runtime_ids=[other])
                plane.change(add_group_members, members)
            case 2:
                left = RemoveGroupMembersRequest(group_id=group, application_ids=[some])
                plane.change(remove_group_members, left)
            case 3:
                left = RemoveGroupMembersRequest(group_id=group, runtime_ids=[other])
                plane.change(remove_group_members, left)
            case 4:
                about = Application(application_id=some, description=str(draw.random()))
                plane.change(update_application, UpdateApplicationRequest(application=about))
            case _:
                applications.remove(some)
                plane.change(delete_application, DeleteApplicationRequest(application_id=some, force=True))
                applications.append(plane.application().application_id)
        with plane.transaction() as tx:
            assert read_all_desired(tx, runtimes) == {id: read_desired(tx, id) for id in runtimes}
