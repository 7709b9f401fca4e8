"""The rules of CSDL: names are identifiers, given once, and lead to what they have to; entities have keys."""

from collections.abc import Iterator

from director.specifications.csdl_model import ANY_TYPE, MAX_BASES, VALUE_TYPES, Model, Schema, children
from director.specifications.xml_tree import Element

_IN_SCHEMA = frozenset(
    [
        "Action",
        "Annotation",
        "Annotations",
        "Association",
        "ComplexType",
        "Documentation",
        "EntityContainer",
        "EntityType",
        "EnumType",
        "Function",
        "Term",
        "TypeDefinition",
        "Using",
        "ValueTerm",
    ]
)
_LONGEST_NAME = 480  # [MC-CSDL] 2.2; version 4 says 128, which services in the field do not hold to
_SHOWN = 100  # characters of a name in a problem, so that what is wrong with it is not cut off
_COMPLEX = ("ComplexType",)
_ENTITY = ("EntityType",)
_MULTIPLICITIES = ("0..1", "1", "*")


def schema_problems(model: Model) -> Iterator[str]:
    """A line for each rule that a document's schemas break."""
    yield from _namespaces(model)
    for schema in model.schemas:
        for element in children(schema.element):
            if element.name not in _IN_SCHEMA:
                yield _at(element, "a Schema has no such element")
            elif element.name in _RULES:
                yield from _name(element)
                yield from _RULES[element.name](model, schema, element)
    for element in model.repeated:
        yield _at(element, "its name is given twice in the namespace")


def _namespaces(model: Model) -> Iterator[str]:
    taken: set[str] = set()
    for schema in model.schemas:
        if not all(map(_is_identifier, schema.namespace.split("."))):
            yield _at(schema.element, f"its Namespace is no namespace: {schema.namespace!r}")
        if schema.alias is not None and not _is_identifier(schema.alias):
            yield _at(schema.element, f"its Alias is no identifier: {schema.alias!r}")
        names = {schema.namespace, schema.alias or schema.namespace}
        if names & taken:
            yield _at(schema.element, f"its Namespace or Alias is given twice: {', '.join(sorted(names & taken))}")
        taken |= names


def _entity_type(model: Model, schema: Schema, type: Element) -> Iterator[str]:
    yield from _structured(model, schema, type, _ENTITY)
    keys = list(children(type, "Key"))
    if len(keys) > 1:
        yield _at(type, "it has more than one Key")
    line, whole = model.lineage(type)
    properties = {each.attributes.get("Name") for ancestor in line for each in children(ancestor, "Property")}
    for key in keys:
        references = list(children(key, "PropertyRef"))
        if not references:
            yield _at(key, "it names no property")
        for reference in references:
            path = reference.attributes.get("Name", "")
            if whole and path.split("/")[0] not in properties:
                yield _at(reference, f"the type has no property {path!r}")
    if not schema.is_v4 and type.attributes.get("Abstract") != "true" and _is_without_key(model, type):
        yield _at(type, "it has no Key")


def _complex_type(model: Model, schema: Schema, type: Element) -> Iterator[str]:
    yield from _structured(model, schema, type, _COMPLEX)


def _structured(model: Model, schema: Schema, type: Element, kinds: tuple[str, ...]) -> Iterator[str]:
    """What entity types and complex types have in common."""
    base = type.attributes.get("BaseType")
    if base is not None:
        yield from _refers(model, type, "BaseType", kinds)
        line, _ = model.lineage(type)
        if model.declared(line[-1].attributes.get("BaseType", "")) is type:
            yield _at(type, "it is a base type of itself")
        elif len(line) > MAX_BASES:
            yield _at(type, f"it has more than {MAX_BASES} base types above each other")
    yield from _names_once(children(type, "Property", "NavigationProperty"))
    for property in children(type, "Property"):
        yield from _refers(model, property, "Type", VALUE_TYPES)
    for navigation in children(type, "NavigationProperty"):
        yield from _navigation(model, schema, navigation)


def _navigation(model: Model, schema: Schema, navigation: Element) -> Iterator[str]:
    if schema.is_v4:
        yield from _refers(model, navigation, "Type", _ENTITY)
        return
    yield from _refers(model, navigation, "Relationship", ("Association",))
    association = model.declared(navigation.attributes.get("Relationship", ""))
    roles = {_role(end) for end in children(association, "End")} if association is not None else None
    for attribute in ("FromRole", "ToRole"):
        role = navigation.attributes.get(attribute)
        if role is None:
            yield _at(navigation, f"it has no {attribute}")
        elif roles is not None and role not in roles:
            yield _at(navigation, f"its {attribute} is no role of the association: {role}")


def _association(model: Model, _schema: Schema, association: Element) -> Iterator[str]:
    ends = list(children(association, "End"))
    if len(ends) != 2 or len({_role(end) for end in ends}) != 2:
        yield _at(association, "it has not two Ends with a Role each")
    for end in ends:
        yield from _refers(model, end, "Type", _ENTITY)
        if end.attributes.get("Multiplicity") not in _MULTIPLICITIES:
            yield _at(end, f"its Multiplicity is none of {', '.join(_MULTIPLICITIES)}")


def _enum_type(model: Model, _schema: Schema, type: Element) -> Iterator[str]:
    if "UnderlyingType" in type.attributes:
        yield from _refers(model, type, "UnderlyingType", ("PrimitiveType",))
    yield from _names_once(children(type, "Member"))


def _type_definition(model: Model, _schema: Schema, type: Element) -> Iterator[str]:
    yield from _refers(model, type, "UnderlyingType", ("PrimitiveType",))


def _term(model: Model, _schema: Schema, term: Element) -> Iterator[str]:
    yield from _refers(model, term, "Type", ANY_TYPE)


def _operation(model: Model, schema: Schema, operation: Element) -> Iterator[str]:
    """An Action or a Function. Version 3 also lets types be written as elements, which are not looked into."""
    yield from _names_once(children(operation, "Parameter"))
    results = list(children(operation, "ReturnType"))
    if schema.is_v4:
        for typed in (*children(operation, "Parameter"), *results):
            yield from _refers(model, typed, "Type", ANY_TYPE)
        if operation.name == "Function" and not results:
            yield _at(operation, "it has no ReturnType")


def _container(model: Model, schema: Schema, container: Element) -> Iterator[str]:
    yield from _names_once(children(container, "EntitySet", "Singleton", "AssociationSet", "ActionImport"))
    if "Extends" in container.attributes and schema.is_v4:
        yield from _refers(model, container, "Extends", ("EntityContainer",))
    for entity_set in children(container, "EntitySet"):
        yield from _refers(model, entity_set, "EntityType", _ENTITY)
        type = model.declared(entity_set.attributes.get("EntityType", ""))
        if schema.is_v4 and type is not None and type.name == "EntityType" and _is_without_key(model, type):
            yield _at(entity_set, f"its type has no Key: {entity_set.attributes['EntityType']}")
    for singleton in children(container, "Singleton"):
        yield from _refers(model, singleton, "Type", _ENTITY)
    for action in children(container, "ActionImport"):
        yield from _refers(model, action, "Action", ("Action",))
    sets = {each.attributes.get("Name", "") for each in children(container, "EntitySet")}
    for function in children(container, "FunctionImport"):
        yield from _function_import(model, schema, function)
        if "EntitySet" in function.attributes and not schema.is_v4:
            yield from _is_one_of(sets, container, function)
    for association_set in children(container, "AssociationSet"):
        yield from _refers(model, association_set, "Association", ("Association",))
        for end in children(association_set, "End"):
            yield from _is_one_of(sets, container, end)


def _function_import(model: Model, schema: Schema, function: Element) -> Iterator[str]:
    yield from _name(function)
    if schema.is_v4:
        yield from _refers(model, function, "Function", ("Function",))
        return
    if "ReturnType" in function.attributes:
        yield from _refers(model, function, "ReturnType", ANY_TYPE)
    yield from _names_once(children(function, "Parameter"))
    for parameter in children(function, "Parameter"):
        yield from _refers(model, parameter, "Type", ANY_TYPE)


_RULES = {
    "EntityType": _entity_type,
    "ComplexType": _complex_type,
    "Association": _association,
    "EnumType": _enum_type,
    "TypeDefinition": _type_definition,
    "Term": _term,
    "ValueTerm": _term,
    "Action": _operation,
    "Function": _operation,
    "EntityContainer": _container,
}


def _is_without_key(model: Model, type: Element) -> bool:
    """Whether an entity type surely has no key, of its own or of a base type."""
    line, whole = model.lineage(type)
    return whole and not any(True for each in line for _ in children(each, "Key"))


def _is_one_of(sets: set[str], container: Element, element: Element) -> Iterator[str]:
    name = element.attributes.get("EntitySet", "")
    if name not in sets and "Extends" not in container.attributes:
        yield _at(element, f"the container has no entity set {name!r}")


def _names_once(elements: Iterator[Element]) -> Iterator[str]:
    names: set[str] = set()
    for element in elements:
        yield from _name(element)
        name = element.attributes.get("Name")
        if name in names:
            yield _at(element, "its name is given twice")
        elif name is not None:
            names.add(name)


def _name(element: Element) -> Iterator[str]:
    name = element.attributes.get("Name")
    if name is None:
        yield _at(element, "it has no Name")
    elif not _is_identifier(name):
        yield _at(element, "its Name is no identifier")


def _refers(model: Model, element: Element, attribute: str, kinds: tuple[str, ...]) -> Iterator[str]:
    name = element.attributes.get(attribute)
    why = f"it has no {attribute}" if name is None else model.fault(name, *kinds)
    if why is not None:
        yield _at(element, why)


def _role(end: Element) -> str:
    # Without a Role, an end is called by the last part of its type's name.
    return end.attributes.get("Role") or end.attributes.get("Type", "").rpartition(".")[2]


def _is_identifier(text: str) -> bool:
    # Python's identifiers are CSDL's, save for a few characters that no service uses.
    return text.isidentifier() and len(text) <= _LONGEST_NAME


def _at(element: Element, what: str) -> str:
    name = element.attributes.get("Name", "")[:_SHOWN]
    return f"line {element.line}, {element.name}{' ' + name if name else ''}: {what}"
