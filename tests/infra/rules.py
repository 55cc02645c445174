"""What the templates must be like: rules of the language that a compiler would check, each a function to problems.

A problem is a line "file:line: what is wrong". Rules of policy are in `tests/infra/policy.py`; whether the properties
of resources exist is checked by `tests/infra/arm_types.py`.
"""

from collections.abc import Mapping
from posixpath import dirname, join, normpath

from tree_sitter import Node

from tests.infra.bicep import Declaration, Template, at, every, literal, members, text_of

#: Functions and namespaces the templates may call; a new one is added here by whoever has looked it up.
FUNCTIONS = frozenset(
    """
    cidrSubnet empty environment guid last loadTextContent max split string subscription subscriptionResourceId
    tenant toLower union uniqueString
    """.split()
)
DECORATORS = frozenset("allowed description maxLength maxValue metadata minLength minValue".split())
#: What they return, if not a string.
_RETURNS = {
    "empty": "bool",
    "max": "int",
    "split": "array",
    "union": "object",
} | dict.fromkeys(("environment", "last", "subscription", "tenant"), "any")
PRIMITIVES = frozenset({"string", "int", "bool", "object", "array"})

#: One version of each type: that whose properties `arm_types.json` holds or, for three types, a plain choice.
VERSIONS = {
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
    "Microsoft.Insights/components": "2020-02-02",
    "Microsoft.Insights/diagnosticSettings": "2021-05-01-preview",
    "Microsoft.Insights/workbooks": "2023-06-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.Network/privateDnsZones": "2024-06-01",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": "2024-06-01",
    "Microsoft.Network/privateEndpoints": "2024-07-01",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": "2024-07-01",
    "Microsoft.Network/virtualNetworks": "2024-07-01",
    "Microsoft.OperationalInsights/workspaces": "2025-02-01",
    "Microsoft.Resources/resourceGroups": "2025-04-01",
    "Microsoft.Storage/storageAccounts": "2025-01-01",
    "Microsoft.Storage/storageAccounts/blobServices": "2025-01-01",
    "Microsoft.Storage/storageAccounts/blobServices/containers": "2025-01-01",
    "Microsoft.Storage/storageAccounts/managementPolicies": "2025-01-01",
    "Microsoft.Storage/storageAccounts/tableServices": "2025-01-01",
    "Microsoft.Storage/storageAccounts/tableServices/tables": "2025-01-01",
    "Microsoft.Web/serverfarms": "2024-11-01",
    "Microsoft.Web/sites": "2024-11-01",
    "Microsoft.Web/sites/config": "2024-11-01",
}

Templates = Mapping[str, Template]


def syntax(templates: Templates) -> list[str]:
    """Nothing is misspelt so that it is no Bicep."""
    return [
        problem(template, node, f"no Bicep: {text_of(node).splitlines()[:1]}")
        for template in templates.values()
        for node in every(template.root)
        if node.type == "ERROR" or node.is_missing
    ]


def descriptions(templates: Templates) -> list[str]:
    """Every param and output says what it is."""
    return [
        problem(template, each, f"{each.kind} {each.name} has no description")
        for template in templates.values()
        for each in template.declarations
        if each.kind in ("param", "output") and not (literal(each.decorators.get("description")) or "").strip()
    ]


def names(templates: Templates) -> list[str]:
    """Every name is declared once, every name used is declared, and every param and var is used."""
    found = []
    for template in templates.values():
        # An output may be called like a param; the two are looked up in different places.
        for kinds in (("param", "var", "resource", "module"), ("output",)):
            seen = set()
            for each in template.declarations:
                if each.kind in kinds and each.name in seen:
                    found.append(problem(template, each, f"{each.name} is declared twice"))
                if each.kind in kinds:
                    seen.add(each.name)
        used = set()
        for node in every(template.root):
            if node.type == "identifier" and (role := _role(node)):
                name = text_of(node)
                used.add(name)
                known = {"name": _scope(template, node), "function": FUNCTIONS, "decorator": DECORATORS}[role]
                if name not in known:
                    found.append(problem(template, node, f"{role} {name} is not known"))
        found += [
            problem(template, each, f"{each.kind} {each.name} is not used")
            for each in template.declarations
            if each.kind in ("param", "var") and each.name not in used
        ]
        found += [
            problem(template, each, f"{each.name} has the unknown type {each.type}")
            for each in template.declarations
            if each.kind in ("param", "output") and each.type not in PRIMITIVES
        ]
    return found


def modules(templates: Templates) -> list[str]:
    """Modules exist, get the params they have and need, of the right type, and are asked for outputs they have."""
    found = []
    for template in templates.values():
        called = template.of("module")
        for each in called.values():
            target = templates.get(normpath(join(dirname(template.path), each.type)))
            if target is None:
                found.append(problem(template, each, f"there is no {each.type}"))
                continue
            given = members(at(each.value, "params"))
            params = target.of("param")
            needed = {name for name, param in params.items() if param.value is None}
            found += [
                problem(template, each, f"{each.type} has no param {name}") for name in given.keys() - params.keys()
            ]
            found += [problem(template, each, f"{each.type} needs the param {name}") for name in needed - given.keys()]
            for name, value in given.items():
                kind = type_of(template, value)
                if name in params and kind not in ("any", params[name].type):
                    found.append(problem(template, each, f"{name} is a {params[name].type}, but is given a {kind}"))
        for node in every(template.root):
            owner, output = _output(node)
            if owner in called:
                target = templates.get(normpath(join(dirname(template.path), called[owner].type)))
                if target is not None and output not in target.of("output"):
                    found.append(problem(template, node, f"{owner} has no output {output}"))
                if called[owner].conditional:
                    # Such an output may be null, of which the compiler warns (BCP318), and which fails when it is.
                    found.append(problem(template, node, f"{owner} may not be there to have outputs"))
    return found


def conditional_resources(templates: Templates) -> list[str]:
    """Nothing is read from a resource that may not be there (BCP318)."""
    found = []
    for template in templates.values():
        resources = template.of("resource")
        for node in every(template.root):
            if node.type == "member_expression" and text_of(node.named_children[-1]) == "properties":
                owner = resources.get(text_of(node.named_children[0]).split("[")[0])
                if owner and owner.conditional:
                    found.append(problem(template, node, f"{owner.name} may not be there to be read"))
    return found


def versions(templates: Templates) -> list[str]:
    """Each type of resource is used in the one version of the table."""
    return [
        problem(template, each, f"{each.type} is not in the table of versions")
        for template in templates.values()
        for each in template.of("resource").values()
        if VERSIONS.get(each.type.partition("@")[0]) != each.type.partition("@")[2]
    ]


def scopes(templates: Templates) -> list[str]:
    """Resources of main.bicep, which is of a subscription, are resource groups; its modules go into one."""
    found = []
    for template in templates.values():
        if "targetScope = 'subscription'" not in text_of(template.root):
            continue
        for each in template.of("resource").values():
            if not each.type.startswith("Microsoft.Resources/resourceGroups@"):
                found.append(problem(template, each, f"{each.name} cannot be in a subscription"))
        for each in template.of("module").values():
            target = template.find(text_of(at(each.value, "scope")))
            if target is None or not target.type.startswith("Microsoft.Resources/resourceGroups@"):
                found.append(problem(template, each, f"{each.name} goes into no resource group"))
    return found


def type_of(template: Template, node: Node | None) -> str:
    """The type of an expression, as far as it can be told by looking: a primitive's name, null, or any."""
    if node is None:
        return "any"
    if node.type in ("string", "multiline_string"):
        return "string"
    simple = {"number": "int", "boolean": "bool", "null": "null", "object": "object", "array": "array"}
    simple |= {"for_statement": "array", "unary_expression": "bool"}
    if node.type in simple:
        return simple[node.type]
    if node.type == "parenthesized_expression":
        return type_of(template, node.named_children[0])
    if node.type == "binary_expression":
        return "int" if node.children[1].type in ("+", "-", "*", "/", "%") else "bool"
    if node.type == "ternary_expression":
        kinds = {type_of(template, each) for each in node.named_children[1:]} - {"null"}
        return kinds.pop() if len(kinds) == 1 else "any"
    if node.type == "call_expression":
        return _RETURNS.get(text_of(node.named_children[0]), "string")
    if node.type == "identifier":
        declaration = template.find(text_of(node))
        if declaration and declaration.kind == "param":
            return declaration.type
        if declaration and declaration.kind == "var" and declaration.value is not None:
            return type_of(template, declaration.value)
    return "any"


def problem(template: Template, where: Node | Declaration | int, what: str) -> str:
    """One line of a report."""
    line = (
        where.line if isinstance(where, Declaration) else where if isinstance(where, int) else where.start_point[0] + 1
    )
    return f"{template.path}:{line}: {what}"


def _scope(template: Template, node: Node) -> set[str]:
    """The names that mean something where a node stands: declarations, and variables of the loops around it."""
    known = {each.name for each in template.declarations if each.kind != "output"}
    around: Node | None = node
    while around is not None:
        if around.type == "for_statement":
            known |= {text_of(each) for each in _loop_variables(around)}
        around = around.parent
    return known


def _loop_variables(loop: Node) -> list[Node]:
    before = []
    for child in loop.children:
        if child.type == "in":
            break
        before += [each for each in every(child) if each.type in ("identifier", "loop_variable", "loop_enumerator")]
    return before


def _role(node: Node) -> str | None:
    """Whether an identifier is a name that is used, a function or a decorator; None where it declares something."""
    parent = node.parent
    if parent is None or parent.type in ("object_property", "type", "primitive_type"):
        is_value = parent is not None and parent.type == "object_property" and parent.named_children[-1] == node
        return "name" if is_value and parent is not None and parent.named_children[0] != node else None
    if parent.type == "call_expression" and parent.named_children[0] == node:
        return "decorator" if parent.parent is not None and parent.parent.type == "decorator" else "function"
    if parent.type.endswith("_declaration"):
        return None if parent.named_children[0] == node else "name"
    loop: Node | None = parent
    while loop is not None and loop.type != "for_statement":
        loop = loop.parent
    if loop is not None and node in _loop_variables(loop):
        return None
    return "name"


def _output(node: Node) -> tuple[str, str]:
    """The module and the output of `module.outputs.output`, or two empty texts."""
    if node.type == "member_expression" and node.named_children[0].type == "member_expression":
        owner = node.named_children[0]
        if text_of(owner.named_children[-1]) == "outputs":
            return text_of(owner.named_children[0]), text_of(node.named_children[-1])
    return "", ""


def resources_of(templates: Templates, kind: str) -> list[tuple[Template, Declaration]]:
    """All resources of a type, with the files they are in."""
    return [
        (template, each)
        for template in templates.values()
        for each in template.of("resource").values()
        if each.type.partition("@")[0] == kind
    ]


LANGUAGE = (syntax, descriptions, names, modules, conditional_resources, versions, scopes)
