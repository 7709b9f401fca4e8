"""What the operations do, as plain data: their steps, and what undoes them."""

from collections.abc import Sequence

from moorage.provisioner.v1.runtime_pb2 import OPERATION_KIND_CREATE, OPERATION_KIND_DELETE

from provisioner.store import Operation, Step

CREATE = ("register", "prepare", "start", "ready")
DELETE = ("stop", "remove", "deregister")

UNDO = ("remove", "deregister")
"""The steps that undo a creation, whichever of its own steps failed."""

_STEPS = {OPERATION_KIND_CREATE: CREATE, OPERATION_KIND_DELETE: DELETE}


def total_steps(operation: Operation) -> int:
    """How many steps an operation has in all; a creation that failed has those it began and those that undo them."""
    if operation.kind == OPERATION_KIND_CREATE and operation.error is not None:
        return sum(each.name in CREATE for each in operation.steps) + len(UNDO)
    return len(_STEPS[operation.kind])


def was_started(steps: Sequence[Step]) -> bool:
    """Whether a creation with these steps has its workload running."""
    names = {each.name for each in steps}
    return "start" in names and names.isdisjoint(UNDO)
