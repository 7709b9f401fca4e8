"""What an EDMX document declares, by name."""

from collections.abc import Iterator

from director.specifications.xml_tree import Element

EDM_V4 = "http://docs.oasis-open.org/odata/ns/edm"
"""The namespace of CSDL 4.0 and 4.01."""

EDM_NAMESPACES = frozenset(
    {EDM_V4, *(f"http://schemas.microsoft.com/ado/{each}/edm" for each in ("2006/04", "2007/05", "2008/01"))}
    | {f"http://schemas.microsoft.com/ado/{each}/edm" for each in ("2008/09", "2009/08", "2009/11")}
)
"""The namespaces of CSDL: 1.0, 1.1, 1.2, 2.0, 3.0 (and its draft), 4."""

MAX_BASES = 50
"""Base types that a type can have one above the other."""

VALUE_TYPES = ("ComplexType", "EnumType", "TypeDefinition", "PrimitiveType")
"""The kinds of type that a property can be of."""

ANY_TYPE = ("EntityType", *VALUE_TYPES)
"""All kinds of type."""

_PRIMITIVES = frozenset(
    [
        "Binary",
        "Boolean",
        "Byte",
        "Date",
        "DateTime",
        "DateTimeOffset",
        "Decimal",
        "Double",
        "Duration",
        "Guid",
        "Int16",
        "Int32",
        "Int64",
        "SByte",
        "Single",
        "Stream",
        "String",
        "Time",
        "TimeOfDay",
        "Geography",
        "GeographyPoint",
        "GeographyLineString",
        "GeographyPolygon",
        "GeographyMultiPoint",
        "GeographyMultiLineString",
        "GeographyMultiPolygon",
        "GeographyCollection",
        "Geometry",
        "GeometryPoint",
        "GeometryLineString",
        "GeometryPolygon",
        "GeometryMultiPoint",
        "GeometryMultiLineString",
        "GeometryMultiPolygon",
        "GeometryCollection",
    ]
)
_ABSTRACT = {
    "ComplexType": "ComplexType",
    "EntityType": "EntityType",
    **dict.fromkeys(
        ("PrimitiveType", "Untyped", "AnnotationPath", "AnyPropertyPath", "ModelElementPath"), "PrimitiveType"
    ),
    **dict.fromkeys(("NavigationPropertyPath", "PropertyPath"), "PrimitiveType"),
}
_DECLARING = frozenset(
    [
        "EntityType",
        "ComplexType",
        "EnumType",
        "TypeDefinition",
        "Association",
        "Action",
        "Function",
        "Term",
        "ValueTerm",
        "EntityContainer",
    ]
)
_OVERLOADED = frozenset({"Action", "Function"})


class Schema:
    """A Schema element: a namespace and what it declares."""

    def __init__(self, element: Element) -> None:
        self.element = element
        self.namespace = element.attributes.get("Namespace", "")
        self.alias = element.attributes.get("Alias")
        self.is_v4 = element.namespace == EDM_V4


def children(element: Element, *kinds: str) -> Iterator[Element]:
    """The CSDL elements in an element that are of the kinds; of all, where none is given."""
    return (each for each in element.children if each.namespace in EDM_NAMESPACES and (not kinds or each.name in kinds))


class Model:
    """All schemas of a document, and the namespaces that it takes from elsewhere."""

    def __init__(self, schemas: list[Schema]) -> None:
        self.schemas = schemas
        self.refers_to_all = False
        """Whether names of any namespace may be declared elsewhere."""
        self.repeated: list[Element] = []
        """Elements whose name another one in the same namespace has."""
        self._namespaces = {each.alias: each.namespace for each in schemas if each.alias}
        self._own = {each.namespace for each in schemas}
        self._referred: set[str] = set()
        self._declared: dict[str, Element] = {}
        for schema in schemas:
            for element in children(schema.element, *_DECLARING):
                self._declare(schema, element)
            for using in children(schema.element, "Using"):
                self.refer_to(using.attributes.get("Namespace", ""), using.attributes.get("Alias"))

    def refer_to(self, namespace: str, alias: str | None) -> None:
        """Take names of a namespace as declared elsewhere."""
        self._referred.update({namespace, alias or namespace})

    def declared(self, name: str) -> Element | None:
        """What a qualified name, alone or as `Collection(NAME)`, leads to in this document."""
        namespace, local = _parts(name)
        return self._declared.get(f"{self._namespaces.get(namespace, namespace)}.{local}")

    def fault(self, name: str, *kinds: str) -> str | None:
        """Why a name is not one of something of the `kinds`; None where it is, or where other documents tell."""
        namespace, local = _parts(name)
        if namespace in ("Edm", ""):
            return None if _is_of_the_language(namespace, local, kinds) else f"{name} is no {_either(kinds)}"
        found = self.declared(name)
        if found is not None:
            return None if found.name in kinds else f"{name} is no {_either(kinds)}"
        namespace = self._namespaces.get(namespace, namespace)
        if namespace in self._referred or (self.refers_to_all and namespace not in self._own):
            return None
        if namespace in self._own:
            return f"{name} is not declared"
        return f"{name} is of a namespace that is neither declared nor referred to"

    def lineage(self, type: Element) -> tuple[list[Element], bool]:
        """An entity or complex type, its base type, and so on; and whether that is all of them.

        It is not where a base type is of another document, where types are bases of one another, and where there are
        more than `MAX_BASES`.
        """
        line = [type]
        while base := line[-1].attributes.get("BaseType"):
            found = self.declared(base)
            if found is None or found is type or len(line) > MAX_BASES:
                return line, False
            line.append(found)
        return line, True

    def _declare(self, schema: Schema, element: Element) -> None:
        name = element.attributes.get("Name")
        first = self._declared.setdefault(f"{schema.namespace}.{name}", element) if name else element
        if first is not element and not (first.name == element.name and element.name in _OVERLOADED):
            self.repeated.append(element)


def _parts(name: str) -> tuple[str, str]:
    if name.startswith("Collection(") and name.endswith(")"):
        name = name[len("Collection(") : -1]
    namespace, _, local = name.rpartition(".")
    return namespace, local


def _is_of_the_language(namespace: str, local: str, kinds: tuple[str, ...]) -> bool:
    # Versions 2 and 3 let `Edm.` be left out.
    if local in _PRIMITIVES:
        return "PrimitiveType" in kinds
    return namespace == "Edm" and _ABSTRACT.get(local) in kinds


def _either(kinds: tuple[str, ...]) -> str:
    return "type" if "PrimitiveType" in kinds else kinds[0]
