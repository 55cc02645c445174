"""Whether resources have the properties that Azure knows: names, types, choices, lengths, what is required.

The facts are in `arm_types.json`, taken from Microsoft's type definitions by `fetch_arm_types.py`: by resource type
and version, then by name of an object type ("" is the resource itself), each property as its type, its flags and its
bounds. Object types that the templates do not reach are left out; nothing else is. Three resource types have no
definition where the facts come from and are not checked: UNPUBLISHED.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from tree_sitter import Node

from tests.infra.bicep import Declaration, Template, every, items, literal, members, text_of
from tests.infra.rules import Templates, problem, type_of

FILE = Path(__file__).with_name("arm_types.json")

#: The tool the facts come from does not know these.
UNPUBLISHED = frozenset(
    {
        "Microsoft.Insights/diagnosticSettings",
        "Microsoft.Network/privateDnsZones",
        "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    }
)
#: What Bicep itself reads in the body of a resource.
_OF_BICEP = frozenset({"parent", "scope", "dependsOn"})

Property = list[str]
Types = Mapping[str, Mapping[str, Mapping[str, Property]]]


def known_types() -> Types:
    """The facts of arm_types.json."""
    loaded: Types = json.loads(FILE.read_text("utf-8"))
    return loaded


def check(templates: Templates, types: Types, reached: set[tuple[str, str]] | None = None) -> list[str]:
    """What is wrong with the resources. Object types that were looked at are added to `reached`."""
    found = []
    for template in templates.values():
        checker = _Checker(template, types, reached if reached is not None else set())
        for each in template.of("resource").values():
            if each.type.partition("@")[0] in UNPUBLISHED or each.value is None:
                continue
            if each.type not in types:
                found.append(problem(template, each, f"the properties of {each.type} are not known"))
                continue
            found += checker.body(each)
        found += checker.reads()
    return found


class _Checker:
    """Goes through one file."""

    def __init__(self, template: Template, types: Types, reached: set[tuple[str, str]]) -> None:
        self._template = template
        self._types = types
        self._reached = reached

    def body(self, resource: Declaration) -> list[str]:
        assert resource.value is not None
        return self._object(resource.type, "", resource.value, _OF_BICEP)

    def reads(self) -> list[str]:
        """Properties that are read from a resource exist."""
        found = []
        resources = self._template.of("resource")
        for node in every(self._template.root):
            if node.type != "member_expression" or (node.parent and node.parent.type == "member_expression"):
                continue
            owner, *path = text_of(node).split(".")
            resource = resources.get(owner)
            if resource is None or resource.type not in self._types:
                continue
            kind = ""
            for name in path:
                known = self._properties(resource.type, kind)
                if known is None:
                    break
                if name not in known:
                    found.append(self._problem(node, f"{owner} has no property {name}"))
                    break
                kind = known[name][0]
        return found

    def _object(self, resource: str, kind: str, node: Node, extra: frozenset[str] = frozenset()) -> list[str]:
        known = self._properties(resource, kind)
        if known is None:
            return []
        given = members(node)
        found = [
            self._problem(node, f"{name} is missing")
            for name, (_, *flags) in known.items()
            if "Required" in flags and name not in given
        ]
        for name, value in given.items():
            if name in extra:
                continue
            property_ = known.get(name, known.get("*"))
            if property_ is None:
                found.append(self._problem(value, f"there is no property {name}"))
            elif "ReadOnly" in property_[1:]:
                found.append(self._problem(value, f"{name} cannot be set"))
            else:
                found += self._value(resource, property_, value, name)
        return found

    def _value(self, resource: str, property_: Property, node: Node, name: str) -> list[str]:
        declared, *flags = property_
        while node.type == "parenthesized_expression":
            node = node.named_children[0]
        if node.type == "ternary_expression":
            branches = node.named_children[1:]
            return [each for branch in branches for each in self._value(resource, property_, branch, name)]
        variable = self._template.of("var").get(text_of(node)) if node.type == "identifier" else None
        if variable is not None and variable.value is not None:
            return self._value(resource, property_, variable.value, name)
        kind = type_of(self._template, node)
        if kind == "null":
            return [self._problem(node, f"{name} cannot be null")] if "Required" in flags else []
        if declared.endswith("[]"):
            if kind not in ("array", "any"):
                return [self._problem(node, f"{name} is a list, but is given a {kind}")]
            element = [declared.removesuffix("[]")]
            return [each for item in items(node) for each in self._value(resource, element, item, name)]
        if declared in self._types[resource]:
            self._reached.add((resource, declared))
            if kind not in ("object", "any"):
                return [self._problem(node, f"{name} is an object, but is given a {kind}")]
            return self._object(resource, declared, node) if node.type == "object" else []
        choices = declared.split(" | ")
        if choices[0] in ("string", "int", "bool"):
            wrong = kind not in (choices[0], "any")
            what = f"{name} is a {declared}, but is given a {kind}"
            return [self._problem(node, what)] if wrong else self._length(flags, node, name)
        return [] if choices[0] in ("any", "object") else self._choice(choices, kind, node, name)

    def _choice(self, choices: list[str], kind: str, node: Node, name: str) -> list[str]:
        if kind not in ("string", "any"):
            return [self._problem(node, f"{name} is a string, but is given a {kind}")]
        allowed = self._possible(node)
        if allowed is None and "string" in choices:
            return []
        if allowed is None:
            return [self._problem(node, f"{name} is one of {choices}, but may be any string")]
        return [self._problem(node, f"{each!r} is not one of {choices}") for each in sorted(allowed - set(choices))]

    def _possible(self, node: Node) -> set[str] | None:
        """The texts an expression may be; None is any."""
        text = literal(node)
        if text is not None:
            return {text}
        param = self._template.of("param").get(text_of(node))
        listed = param.decorators.get("allowed") if param else None
        return {literal(each) or "" for each in items(listed)} if listed is not None else None

    def _length(self, flags: list[str], node: Node, name: str) -> list[str]:
        """Texts are long enough for sure, and not declared to be longer than they may (BCP334, BCP335)."""
        bounds = {kind: int(bound) for kind, bound in (each.split() for each in flags if " " in each)}
        shortest, longest = self._lengths(node)
        found = []
        if shortest < bounds.get("minLength", 0):
            found.append(self._problem(node, f"{name} may be {shortest} long, which is too short"))
        if longest is not None and longest > bounds.get("maxLength", longest):
            found.append(self._problem(node, f"{name} may be {longest} long, which is too long"))
        return found

    def _lengths(self, node: Node) -> tuple[int, int | None]:
        text = literal(node)
        if text is not None:
            return len(text), len(text)
        if node.type == "string":
            return sum(len(text_of(each)) for each in node.named_children if each.type == "string_content"), None
        param = self._template.of("param").get(text_of(node))
        if param is None:
            return 0, None
        least, most = (text_of(param.decorators.get(name)) for name in ("minLength", "maxLength"))
        return int(least or 0), int(most) if most else None

    def _properties(self, resource: str, kind: str) -> Mapping[str, Property] | None:
        self._reached.add((resource, kind))
        return self._types[resource].get(kind)

    def _problem(self, node: Node, what: str) -> str:
        return problem(self._template, node.start_point[0] + 1, what)
