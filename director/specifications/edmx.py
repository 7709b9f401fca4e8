"""OData EDMX, versions 2, 3 and 4: the envelope of CSDL schemas.

After OData CSDL XML 4.01 (OASIS), and [MC-EDMX] and [MC-CSDL] (Microsoft) for versions 2 and 3. What other documents
declare is not fetched: names in their namespaces are taken as good.
"""

from collections.abc import Iterator

from director.specifications.csdl import schema_problems
from director.specifications.csdl_model import EDM_NAMESPACES, EDM_V4, Model, Schema
from director.specifications.xml_tree import Element, parse_xml

_EDMX = "http://schemas.microsoft.com/ado/2007/06/edmx"
_EDMX_V4 = "http://docs.oasis-open.org/odata/ns/edmx"
_VERSIONS = {_EDMX: ("1.0",), _EDMX_V4: ("4.0", "4.01")}


def problems(content: bytes) -> Iterator[str]:
    """A line for each thing that is wrong with an EDMX document in UTF-8; raises `Unparsable`."""
    root = parse_xml(content)
    if root.name != "Edmx" or root.namespace not in _VERSIONS:
        yield f"its root is no Edmx element of the namespace {_EDMX} or {_EDMX_V4}"
        return
    if root.attributes.get("Version") not in _VERSIONS[root.namespace]:
        yield f"Edmx: its Version is not {' or '.join(_VERSIONS[root.namespace])}"
    services = [each for each in root.children if (each.namespace, each.name) == (root.namespace, "DataServices")]
    if len(services) != 1:
        yield "Edmx: it has not exactly one DataServices"
        return
    found = [each for each in services[0].children if each.name == "Schema" and each.namespace in EDM_NAMESPACES]
    if not found:
        yield "DataServices: it has no Schema of a namespace of CSDL"
    for schema in found:
        if (schema.namespace == EDM_V4) != (root.namespace == _EDMX_V4):
            yield f"line {schema.line}, Schema: it is of another version of OData than Edmx is"
    model = Model([Schema(each) for each in found])
    _add_references(model, root)
    yield from schema_problems(model)


def _add_references(model: Model, root: Element) -> None:
    """Let the model know which namespaces other documents declare."""
    for reference in root.children:
        if reference.name != "Reference" or reference.namespace not in _VERSIONS:
            continue
        included = [each.attributes for each in reference.children if each.name == "Include"]
        # In version 3 a reference stands for all that the other document has.
        model.refers_to_all = model.refers_to_all or (not included and root.namespace == _EDMX)
        for include in included:
            model.refer_to(include.get("Namespace", ""), include.get("Alias"))
