"""Bicep files as values: what is declared, and the syntax trees of what it is declared as.

The grammar is tree-sitter's, which knows the syntax and nothing of types; `rules.py` and `arm_types.py` add the rest.
Nothing here runs the Bicep compiler: .github/workflows/ci.yml does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

INFRA = Path(__file__).parents[2] / "infra"

_PARSER = Parser(Language(tree_sitter_bicep.language()))


@dataclass(frozen=True, slots=True)
class Declaration:
    """A param, var, resource, module or output: `value` is its right side, without loops and conditions around it."""

    kind: str
    name: str
    line: int
    value: Node | None = None
    #: The declared type of a param or output; of a resource, type@version; of a module, its path.
    type: str = ""
    decorators: Mapping[str, Node | None] = field(default_factory=dict)
    existing: bool = False
    conditional: bool = False
    looped: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """One Bicep file."""

    path: str
    root: Node
    declarations: tuple[Declaration, ...]

    def of(self, kind: str) -> dict[str, Declaration]:
        """The declarations of a kind, by name."""
        return {each.name: each for each in self.declarations if each.kind == kind}

    def find(self, name: str) -> Declaration | None:
        """What a name stands for in this file; outputs cannot be referred to."""
        return next((each for each in self.declarations if each.name == name and each.kind != "output"), None)


def templates_of(folder: Path = INFRA) -> dict[str, Template]:
    """All Bicep files below a folder, by their path from there."""
    files = {each.relative_to(folder).as_posix(): each for each in sorted(folder.rglob("*.bicep"))}
    return {path: parsed(each.read_text("utf-8"), path) for path, each in files.items()}


def parsed(text: str, path: str = "main.bicep") -> Template:
    """A file from its text. Errors of syntax are in the tree; `rules.syntax` reports them."""
    root = _PARSER.parse(text.encode()).root_node
    declarations = []
    decorators: dict[str, Node | None] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = dict(_decorator(each) for each in node.named_children)
        elif node.type != "comment":
            declaration = _declaration(node, decorators)
            if declaration:
                declarations.append(declaration)
            decorators = {}
    return Template(path, root, tuple(declarations))


def text_of(node: Node | None) -> str:
    """The source of a node."""
    return node.text.decode() if node is not None and node.text is not None else ""


def literal(node: Node | None) -> str | None:
    """The value of a string without interpolation, else None."""
    if node is None or node.type != "string":
        return None
    if any(child.type not in ("'", "string_content", "escape_sequence") for child in node.children):
        return None
    return "".join(text_of(child).removeprefix("\\") for child in node.named_children)


def members(node: Node | None) -> dict[str, Node]:
    """The properties of an object; a name that is interpolated is its source. Anything else has none."""
    if node is None or node.type != "object":
        return {}
    found = {}
    for each in node.named_children:
        if each.type == "object_property" and len(each.named_children) >= 2:
            name, value = each.named_children[0], each.named_children[-1]
            found[literal(name) if literal(name) is not None else text_of(name)] = value
    return {str(name): value for name, value in found.items()}


def at(node: Node | None, path: str) -> Node | None:
    """The value at a path of property names, as in "properties.siteConfig", or None."""
    for name in path.split("."):
        node = members(node).get(name)
    return node


def items(node: Node | None) -> list[Node]:
    """The elements of an array; of a loop, what it repeats."""
    if node is None:
        return []
    if node.type == "for_statement":
        return [bare(node)[0]]
    return [each for each in node.named_children if each.type != "comment"] if node.type == "array" else []


def every(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in node.children:
        yield from every(child)


def bare(node: Node) -> tuple[Node, bool, bool]:
    """A value without the loops and conditions around it, whether there was a condition, and whether a loop."""
    conditional = looped = False
    while node.type in ("for_statement", "if_statement"):
        conditional |= node.type == "if_statement"
        looped |= node.type == "for_statement"
        node = node.named_children[-1]
    return node, conditional, looped


def _decorator(node: Node) -> tuple[str, Node | None]:
    call = node.named_children[0]
    arguments = next((each for each in call.named_children if each.type == "arguments"), None)
    first = arguments.named_children[0] if arguments is not None and arguments.named_children else None
    return text_of(call.named_children[0]), first


def _declaration(node: Node, decorators: Mapping[str, Node | None]) -> Declaration | None:
    kind = {
        "parameter_declaration": "param",
        "variable_declaration": "var",
        "resource_declaration": "resource",
        "module_declaration": "module",
        "output_declaration": "output",
    }.get(node.type)
    if kind is None:
        return None
    signs = [each.type for each in node.children]
    value, conditional, looped = bare(node.named_children[-1]) if "=" in signs else (None, False, False)
    declared = node.named_children[1] if len(node.named_children) > 1 else None
    return Declaration(
        kind,
        text_of(node.named_children[0]),
        node.start_point[0] + 1,
        value,
        (literal(declared) or text_of(declared)) if kind != "var" else "",
        decorators,
        "existing" in signs,
        conditional,
        looped,
    )
