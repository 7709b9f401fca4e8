"""What is found wrong with OData's EDMX documents, and that nothing in one can harm who looks into it."""

from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from director.specifications.csdl_model import MAX_BASES
from director.specifications.documents import MAX_PROBLEMS, ODATA_EDMX, problems_of
from director.specifications.parsing import MAX_DEPTH, MAX_NODES

EDM = {"v2": "http://schemas.microsoft.com/ado/2008/09/edm", "v3": "http://schemas.microsoft.com/ado/2009/11/edm"}


def v4(inside: str, around: str = "") -> str:
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">'
        f"{around}<edmx:DataServices>"
        '<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="shop.v1" Alias="s">'
        f"\n{inside}\n</Schema></edmx:DataServices></edmx:Edmx>"
    )


def v2(inside: str, around: str = "", edm: str = EDM["v2"]) -> str:
    return (
        '<edmx:Edmx xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" Version="1.0">'
        '<edmx:DataServices xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata" '
        f'm:DataServiceVersion="2.0"><Schema xmlns="{edm}" Namespace="shop">'
        f"\n{inside}\n</Schema></edmx:DataServices>{around}</edmx:Edmx>"
    )


KEY = '<Key><PropertyRef Name="id"/></Key><Property Name="id" Type="Edm.Int32" Nullable="false"/>'
ITEM = f'<EntityType Name="Item">{KEY}</EntityType>'
ORDER_V2 = (
    f'<EntityType Name="Order">{KEY}<NavigationProperty Name="items" Relationship="shop.Has" '
    'FromRole="order" ToRole="items"/></EntityType>'
)
HAS = '<Association Name="Has"><End Role="order" Type="shop.Order" Multiplicity="1"/>{}</Association>'
ITEMS_END = '<End Role="items" Type="shop.Item" Multiplicity="*"/>'
SETS = '<EntitySet Name="items" EntityType="shop.Item"/><EntitySet Name="orders" EntityType="shop.Order"/>'

V4 = """
<EntityType Name="Thing" Abstract="true"><Property Name="id" Type="Edm.Guid"/>
  <Key><PropertyRef Name="id"/></Key></EntityType>
<EntityType Name="Größe" BaseType="shop.v1.Thing" OpenType="true">
  <Property Name="tags" Type="Collection(Edm.String)"/><Property Name="where" Type="s.Address"/>
  <Property Name="state" Type="s.State"/><Property Name="weight" Type="s.Weight"/>
  <Property Name="any" Type="Edm.Untyped"/>
  <NavigationProperty Name="parts" Type="Collection(s.Thing)" ContainsTarget="true"/>
  <Annotation Term="Org.OData.Core.V1.Description" String="x"><Own xmlns="urn:own"/></Annotation>
</EntityType>
<EntityType Name="KeyByPath"><Key><PropertyRef Name="where/street" Alias="street"/></Key>
  <Property Name="where" Type="s.Address"/></EntityType>
<ComplexType Name="Address"><Property Name="street" Type="Edm.String"/></ComplexType>
<EnumType Name="State" UnderlyingType="Edm.Byte"><Member Name="new"/><Member Name="old" Value="1"/></EnumType>
<TypeDefinition Name="Weight" UnderlyingType="Edm.Decimal"/>
<Term Name="Note" Type="Edm.String"/>
<Action Name="Ship" IsBound="true"><Parameter Name="thing" Type="s.Thing"/></Action>
<Action Name="Ship"><Parameter Name="id" Type="Edm.Guid"/><ReturnType Type="Edm.Boolean"/></Action>
<Function Name="Near"><ReturnType Type="Collection(s.Thing)"/></Function>
<EntityContainer Name="Container">
  <EntitySet Name="Things" EntityType="s.Thing"><NavigationPropertyBinding Path="parts" Target="Things"/></EntitySet>
  <Singleton Name="Me" Type="s.Größe"/><ActionImport Name="Ship" Action="s.Ship"/>
  <FunctionImport Name="Near" Function="shop.v1.Near" EntitySet="Things"/>
</EntityContainer>
<Annotations Target="s.Thing"><Annotation Term="s.Note" String="x"/></Annotations>
"""
V2 = (
    ORDER_V2
    + ITEM
    + HAS.format(ITEMS_END)
    + '<ComplexType Name="Address"><Property Name="street" Type="String"/></ComplexType>'
    + f'<EntityContainer Name="Shop">{SETS}<AssociationSet Name="has" Association="shop.Has">'
    + '<End Role="order" EntitySet="orders"/><End Role="items" EntitySet="items"/></AssociationSet>'
    + '<FunctionImport Name="top" ReturnType="Collection(shop.Item)" EntitySet="items">'
    + '<Parameter Name="n" Type="Edm.Int32"/>'
    + "</FunctionImport></EntityContainer>"
)
ELSEWHERE = (
    '<edmx:Reference Uri="https://elsewhere.test/m"><edmx:Include Namespace="other.v1" Alias="o"/></edmx:Reference>'
)

GOOD = {
    "version 4": v4(V4),
    "version 4.01": v4(V4).replace('"4.0"', '"4.01"'),
    "version 2": v2(V2),
    "version 3": v2(V2, edm=EDM["v3"]),
    "a byte order mark": "\ufeff" + v2(V2),
    "types of a document that is referred to": v4(
        '<EntityType Name="A" BaseType="o.Base"><Key><PropertyRef Name="theirs"/></Key>'
        '<Property Name="a" Type="other.v1.T"/></EntityType>'
        '<EntityContainer Name="C"><EntitySet Name="A" EntityType="s.A"/></EntityContainer>',
        ELSEWHERE,
    ),
    "types of a namespace in use": v2(
        f'<Using Namespace="other" Alias="o"/><EntityType Name="A">{KEY}<Property Name="a" Type="o.T"/></EntityType>'
    ),
    "types of a document that version 3 refers to": v2(
        f'<EntityType Name="A">{KEY}<Property Name="a" Type="other.T"/></EntityType>',
        '<edmx:Reference Url="https://elsewhere.test/m"/>',
        EDM["v3"],
    ),
    "a role that is called by its type": v2(
        f'<EntityType Name="A">{KEY}'
        '<NavigationProperty Name="b" Relationship="shop.R" FromRole="A" ToRole="B"/></EntityType>'
        f'<EntityType Name="B">{KEY}</EntityType><Association Name="R"><End Type="shop.A" Multiplicity="1"/>'
        '<End Type="shop.B" Multiplicity="0..1"/></Association>'
    ),
}

BAD = {
    "nothing": ("", "not XML: line 1, column 1: no element found"),
    "JSON": ('{"$Version": "4.0"}', "not XML: line 1, column 1"),
    "an element that is not closed": ("<a>\n<b></a>", "not XML: line 2, column 6: mismatched tag"),
    "half a document": (v4(V4)[:400], "not XML"),
    "two roots": ("<a/><b/>", "not XML"),
    "a namespace that is not declared": ("<edmx:Edmx/>", "not XML: line 1, column 1: unbound prefix"),
    "another root": ("<html/>", "its root is no Edmx element"),
    "a root without a namespace": ('<Edmx Version="4.0"/>', "its root is no Edmx element"),
    "no version": (v4(V4).replace(' Version="4.0"', ""), "its Version is not 4.0 or 4.01"),
    "a version to come": (v4(V4).replace('"4.0"', '"5.0"'), "its Version is not 4.0 or 4.01"),
    "no services": (
        '<Edmx xmlns="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0"/>',
        "it has not exactly one DataServices",
    ),
    "no schema": (v2("").replace("<Schema", "<Own").replace("</Schema", "</Own"), "it has no Schema"),
    "a schema of another version": (
        v4("").replace('http://docs.oasis-open.org/odata/ns/edm"', EDM["v3"] + '"'),
        "line 2, Schema: it is of another version",
    ),
    "a schema without a namespace": (v2("").replace(' Namespace="shop"', ""), "its Namespace is no namespace: ''"),
    "an alias that is no name": (v4("").replace('"s"', '"a.b"'), "its Alias is no identifier"),
    "an element that CSDL does not know": (v4("<Entity/>"), "line 3, Entity: a Schema has no such element"),
    "no name": (v4('<ComplexType><Property Name="a" Type="Edm.String"/></ComplexType>'), "ComplexType: it has no Name"),
    "a name that is none": (v4('<ComplexType Name="a b"/>'), "ComplexType a b: its Name is no identifier"),
    "a name that is too long": (v4(f'<ComplexType Name="{"a" * 481}"/>'), "its Name is no identifier"),
    "a name that is given twice": (
        v4('<ComplexType Name="A"/>\n<EnumType Name="A"/>'),
        "line 4, EnumType A: its name is",
    ),
    "a property that is there twice": (
        v4(
            '<ComplexType Name="A"><Property Name="a" Type="Edm.Byte"/>'
            '<Property Name="a" Type="Edm.Byte"/></ComplexType>'
        ),
        "Property a: its name is given twice",
    ),
    "a property without a type": (
        v4('<ComplexType Name="A"><Property Name="a"/></ComplexType>'),
        "Property a: it has no Type",
    ),
    "a type that is not declared": (
        v4('<ComplexType Name="A"><Property Name="a" Type="Collection(s.B)"/></ComplexType>'),
        "Property a: Collection(s.B) is not declared",
    ),
    "a type of an unknown namespace": (
        v4('<ComplexType Name="A"><Property Name="a" Type="other.B"/></ComplexType>'),
        "other.B is of a namespace that is neither declared nor referred to",
    ),
    "a primitive type that does not exist": (
        v4('<ComplexType Name="A"><Property Name="a" Type="Edm.Text"/></ComplexType>'),
        "Property a: Edm.Text is no type",
    ),
    "an entity as a property": (
        v4(f'{ITEM}<ComplexType Name="A"><Property Name="a" Type="s.Item"/></ComplexType>'),
        "Property a: s.Item is no type",
    ),
    "a base type that is no entity": (
        v4('<ComplexType Name="A"/><EntityType Name="B" BaseType="s.A"/>'),
        "EntityType B: s.A is no EntityType",
    ),
    "a base type of itself": (
        v4('<EntityType Name="A" BaseType="s.B"/><EntityType Name="B" BaseType="s.A"/>'),
        "EntityType B: it is a base type of itself",
    ),
    "an entity without a key": (v2('<EntityType Name="A"/>'), "EntityType A: it has no Key"),
    "a set of entities without a key": (
        v4('<EntityType Name="A"/><EntityContainer Name="C"><EntitySet Name="As" EntityType="s.A"/></EntityContainer>'),
        "EntitySet As: its type has no Key: s.A",
    ),
    "a key of nothing": (v4('<EntityType Name="A"><Key/></EntityType>'), "Key: it names no property"),
    "a key that is no property": (
        v4('<EntityType Name="A"><Key><PropertyRef Name="a"/></Key></EntityType>'),
        "PropertyRef a: the type has no property 'a'",
    ),
    "two keys": (
        v4(f'<EntityType Name="A">{KEY}<Key><PropertyRef Name="id"/></Key></EntityType>'),
        "more than one Key",
    ),
    "a navigation to no entity": (
        v4('<EntityType Name="A"><NavigationProperty Name="n" Type="Edm.String"/></EntityType>'),
        "NavigationProperty n: Edm.String is no EntityType",
    ),
    "a navigation by no association": (v2(ORDER_V2), "NavigationProperty items: shop.Has is not declared"),
    "a role that the association does not have": (
        v2((ORDER_V2 + ITEM + HAS.format(ITEMS_END)).replace('ToRole="items"', 'ToRole="item"')),
        "its ToRole is no role of the association: item",
    ),
    "a navigation without a role": (
        v2((ORDER_V2 + ITEM + HAS.format(ITEMS_END)).replace('FromRole="order"', "")),
        "it has no FromRole",
    ),
    "an association with one end": (v2(ORDER_V2 + HAS.format("")), "Association Has: it has not two Ends"),
    "an association with nothing": (v2(ORDER_V2 + HAS.format(ITEMS_END)), "End: shop.Item is not declared"),
    "a multiplicity that does not exist": (
        v2((ORDER_V2 + ITEM + HAS.format(ITEMS_END)).replace('"*"', '"many"')),
        "its Multiplicity is none of",
    ),
    "a set of no entity": (
        v4('<EntityContainer Name="C"><EntitySet Name="As" EntityType="s.A"/></EntityContainer>'),
        "EntitySet As: s.A is not declared",
    ),
    "a singleton of no type": (
        v4('<EntityContainer Name="C"><Singleton Name="A"/></EntityContainer>'),
        "it has no Type",
    ),
    "an import of no action": (
        v4('<EntityContainer Name="C"><ActionImport Name="A" Action="s.A"/></EntityContainer>'),
        "ActionImport A: s.A is not declared",
    ),
    "an import of an action as a function": (
        v4('<Action Name="A"/><EntityContainer Name="C"><FunctionImport Name="A" Function="s.A"/></EntityContainer>'),
        "FunctionImport A: s.A is no Function",
    ),
    "a function that returns nothing": (v4('<Function Name="F"/>'), "Function F: it has no ReturnType"),
    "a parameter of no type": (
        v4('<Action Name="A"><Parameter Name="p" Type="s.P"/></Action>'),
        "Parameter p: s.P is not declared",
    ),
    "a function import from no set": (
        v2(
            '<EntityContainer Name="C">'
            '<FunctionImport Name="f" ReturnType="Edm.Byte" EntitySet="no"/></EntityContainer>'
        ),
        "FunctionImport f: the container has no entity set 'no'",
    ),
    "an association set with no set": (
        v2(V2.replace('<End Role="items" EntitySet="items"/>', '<End Role="items" EntitySet="no"/>')),
        "End: the container has no entity set 'no'",
    ),
    "an enumeration upon nothing": (v4('<EnumType Name="E" UnderlyingType="Edm.E"/>'), "Edm.E is no type"),
    "a definition upon nothing": (v4('<TypeDefinition Name="T"/>'), "TypeDefinition T: it has no UnderlyingType"),
}


def found_in(content: str) -> list[str]:
    return problems_of(ODATA_EDMX, content.encode())


@pytest.mark.parametrize("name", GOOD)
def test_a_good_document_has_no_problems(name: str) -> None:
    assert found_in(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_document_has_the_problem_that_it_has(name: str) -> None:
    content, problem = BAD[name]
    found = found_in(content)
    assert any(problem in line for line in found), found
    assert not any("could not be checked" in line for line in found), found


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE a>",
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE a PUBLIC "-//a" "http://127.0.0.1:1/a.dtd">',
        '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1:1/"> %b;]>',
        '<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
    ],
)
def test_a_document_type_is_refused_and_nothing_of_it_is_read(declaration: str) -> None:
    with mock.patch("urllib.request.urlopen") as fetched, mock.patch("builtins.open") as opened:
        found = found_in(v4(V4).replace("<edmx:Edmx", f"{declaration}<edmx:Edmx", 1))
    assert found == ["it has a document type declaration, and such are not read"]
    fetched.assert_not_called()
    opened.assert_not_called()


def test_what_a_document_refers_to_is_not_fetched() -> None:
    with mock.patch("urllib.request.urlopen") as fetched:
        assert found_in(v4(V4, ELSEWHERE)) == []
    fetched.assert_not_called()


def test_an_entity_that_no_document_declares_is_a_problem() -> None:
    [found] = found_in(v4("<ComplexType Name='A'>&a;</ComplexType>"))
    assert "undefined entity" in found


def test_a_document_that_is_nested_too_deep_is_refused() -> None:
    assert found_in("<a>" * 100_000) == [f"it is nested deeper than {MAX_DEPTH} levels"]


def test_types_that_are_bases_of_ever_more_types_are_not_followed_for_ever() -> None:
    chain = "".join(f'<ComplexType Name="T{n}" BaseType="s.T{n + 1}"/>' for n in range(MAX_BASES + 1))
    found = found_in(v4(chain + f'<ComplexType Name="T{MAX_BASES + 1}"/>'))
    assert found[0] == f"line 3, ComplexType T0: it has more than {MAX_BASES} base types above each other"
    long = "".join(f'<ComplexType Name="T{n}" BaseType="s.T{n + 1}"/>' for n in range(20_000))
    assert len(found_in(v4(long))) == MAX_PROBLEMS


def test_a_document_of_too_many_elements_is_refused() -> None:
    assert found_in("<a>" + "<a/>" * MAX_NODES + "</a>") == [f"it has more than {MAX_NODES:,} elements and attributes"]


def test_an_encoding_that_the_document_is_not_in_does_not_count() -> None:
    assert found_in(v4(V4).replace("utf-8", "utf-16")) == []


PIECES = (
    "<",
    ">",
    "/",
    '"',
    "shop",
    "s.",
    "Edm.",
    "Name",
    "Type",
    "Collection(",
    "Key",
    "EntityType",
    "&",
    "]]>",
    "\0",
)


@settings(deadline=None)
@given(st.sampled_from([v4(V4), v2(V2)]), st.data())
def test_no_document_that_is_changed_raises_anything_but_a_problem(document: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(document)))
    end = data.draw(st.integers(begin, min(begin + 40, len(document))))
    found = found_in(document[:begin] + data.draw(st.sampled_from(PIECES)) + document[end:])
    assert not any("could not be checked" in line for line in found), found
