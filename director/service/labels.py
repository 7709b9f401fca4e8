"""The Director's calls that concern the definitions of labels."""

from moorage.director.v1.label_pb2 import (
    CreateLabelDefinitionRequest,
    CreateLabelDefinitionResponse,
    DeleteLabelDefinitionRequest,
    DeleteLabelDefinitionResponse,
    GetLabelDefinitionRequest,
    GetLabelDefinitionResponse,
    ListLabelDefinitionsRequest,
    ListLabelDefinitionsResponse,
    UpdateLabelDefinitionRequest,
    UpdateLabelDefinitionResponse,
)

from director import label_definitions
from director.service.calls import Calls, Context


class LabelCalls(Calls):
    """Calls that concern the definitions of labels."""

    async def CreateLabelDefinition(
        self, request: CreateLabelDefinitionRequest, context: Context
    ) -> CreateLabelDefinitionResponse:
        """Define a label."""
        return await self._change(label_definitions.create_label_definition, request)

    async def GetLabelDefinition(
        self, request: GetLabelDefinitionRequest, context: Context
    ) -> GetLabelDefinitionResponse:
        """Read the definition of a label."""
        return await self._database.glance(label_definitions.get_label_definition, request)

    async def ListLabelDefinitions(
        self, request: ListLabelDefinitionsRequest, context: Context
    ) -> ListLabelDefinitionsResponse:
        """Read a page of the definitions of labels."""
        return await self._database.read(label_definitions.list_label_definitions, request)

    async def UpdateLabelDefinition(
        self, request: UpdateLabelDefinitionRequest, context: Context
    ) -> UpdateLabelDefinitionResponse:
        """Change the definition of a label."""
        return await self._change(label_definitions.update_label_definition, request)

    async def DeleteLabelDefinition(
        self, request: DeleteLabelDefinitionRequest, context: Context
    ) -> DeleteLabelDefinitionResponse:
        """Remove the definition of a label."""
        return await self._change(label_definitions.delete_label_definition, request)
