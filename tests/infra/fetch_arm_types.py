"""Write `arm_types.json` anew: `python -m tests.infra.fetch_arm_types AZMCP`.

AZMCP is the program of that name in the package msmcp-azure, which carries Microsoft's type definitions and answers
without a network or an account:

    python -m venv /tmp/azmcp && /tmp/azmcp/bin/pip install msmcp-azure==3.0.0
    chmod +x /tmp/azmcp/lib/python3*/site-packages/msmcp_azure/bin/azmcp
    python -m tests.infra.fetch_arm_types /tmp/azmcp/lib/python3*/site-packages/msmcp_azure/bin/azmcp

It knows one version of each type; a newer package may know a newer one, and then `rules.VERSIONS` must say so too.
"""

import json
import os
import subprocess
import sys
from typing import Any

from tests.infra.arm_types import FILE, UNPUBLISHED, check
from tests.infra.bicep import templates_of
from tests.infra.rules import VERSIONS

Object = dict[str, list[str]]


def main() -> None:
    """Ask for every type of the table, and keep what the templates reach."""
    everything = {
        f"{kind}@{version}": asked(sys.argv[1], kind, version)
        for kind, version in VERSIONS.items()
        if kind not in UNPUBLISHED
    }
    reached: set[tuple[str, str]] = set()
    problems = check(templates_of(), everything, reached)
    kept = {
        resource: {kind: known for kind, known in sorted(kinds.items()) if (resource, kind) in reached}
        for resource, kinds in sorted(everything.items())
    }
    # One property a line, so that a change of the definitions is a change one can read.
    FILE.write_text(_written(kept), "utf-8")
    print(*problems, sep="\n")


def asked(azmcp: str, kind: str, version: str) -> dict[str, Object]:
    """The object types of a resource type; "" is the resource itself. Raises LookupError if the version is unknown."""
    answer = subprocess.run(
        [azmcp, "bicepschema", "get", "--resource-type", kind],
        check=True,
        capture_output=True,
        env=os.environ | {"AZURE_MCP_COLLECT_TELEMETRY": "false"},
    )
    types: dict[str, Object] = {}
    for each in json.loads(answer.stdout)["results"]["BicepSchemaResult"]:
        if each["$type"] == "Resource" and each["name"] == f"{kind}@{version}":
            types[""] = _properties(_body(each["bodyType"]))
        elif each["$type"] == "Object":
            types[each["name"]] = _properties(each)
    if "" not in types:
        raise LookupError(f"{kind}@{version} is not known")
    return types


def _body(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a resource; of those that are told apart by their names, app settings."""
    if body["$type"] == "Object":
        return body
    chosen: dict[str, Any] = next(
        each for each in body["elements"] if {"name": "name", "type": "appsettings"}.items() <= _named(each).items()
    )
    return chosen


def _named(element: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in element["properties"] if each["name"] == "name")
    return found


def _properties(kind: dict[str, Any]) -> Object:
    found = {
        each["name"]: [
            each["type"],
            *(flag for flag in each.get("flags", "").split(", ") if flag in ("Required", "ReadOnly")),
            *(
                bound.replace(":", "")
                for bound in each.get("modifiers", "").split(", ")
                if bound.startswith(("minLength:", "maxLength:"))
            ),
        ]
        for each in kind["properties"]
    }
    if kind.get("additionalPropertiesType"):
        found["*"] = [kind["additionalPropertiesType"]]
    return found


def _written(types: dict[str, dict[str, Object]]) -> str:
    lines = []
    for resource, kinds in types.items():
        objects = []
        for kind, known in kinds.items():
            inside = ",\n".join(f"   {json.dumps(name)}: {json.dumps(known[name])}" for name in sorted(known))
            objects.append(f"  {json.dumps(kind)}: {{\n{inside}\n  }}")
        lines.append(f" {json.dumps(resource)}: {{\n" + ",\n".join(objects) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    main()
