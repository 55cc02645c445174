"""infra/register-app.sh, against a stand-in for the Azure CLI that keeps what it is told, for want of a tenant."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from shared.config import Settings
from tests.infra.bicep import INFRA

SCRIPT = INFRA / "register-app.sh"
AUTH_ROLES = str(next(field.default for field in dataclasses.fields(Settings) if field.name == "auth_roles"))

STAND_IN = f"""#!{sys.executable}
import json, os, sys
import jmespath

words = sys.argv[1:]
path = os.environ["DIRECTORY"]
state = json.load(open(path)) if os.path.exists(path) else {{"apps": {{}}, "services": [], "granted": [], "calls": []}}
state["calls"].append(words)
option = lambda name: words[words.index(name) + 1]
command = " ".join(words[: next((i for i, each in enumerate(words) if each.startswith("--")), len(words))])
answer, failed = "", False
if command == "ad app list":
    answer = "\\n".join(app for app, each in state["apps"].items() if each["name"] == option("--display-name"))
elif command == "ad app create":
    answer = "0000-app-%d" % len(state["apps"])
    state["apps"][answer] = {{"name": option("--display-name")}}
elif command == "ad app show":
    answer = "object-of-" + option("--id")
elif command == "ad sp show":
    failed = option("--id") not in state["services"]
    roles = state["apps"].get(option("--id"), {{}}).get("appRoles", [])
    wanted = [role["id"] for role in roles if "'%s'" % role["value"] in " ".join(words)]
    answer = "service-of-" + option("--id") if "appRoles" not in " ".join(words) else "".join(wanted)
elif command == "ad sp create":
    state["services"].append(option("--id"))
elif command == "ad user show":
    answer = "person-" + option("--id")
elif command == "rest":
    method, uri = option("--method"), option("--uri").partition("?")[0]
    if method == "POST":
        state["granted"].append({{"id": "grant-%d" % len(state["granted"]), **json.loads(option("--body"))}})
    elif method == "DELETE":
        state["granted"] = [each for each in state["granted"] if not uri.endswith("/" + each["id"])]
    elif method == "PATCH":
        app = state["apps"][uri.rpartition("object-of-")[2]]
        for path_, key in (("appRoles", "id"), ("api.oauth2PermissionScopes", "id")):
            have, will = (jmespath.search(path_, each) for each in (app, json.loads(option("--body"))))
            # As Graph does: CannotDeleteOrUpdateEnabledEntitlement.
            if have and will is not None:
                failed = failed or bool({{each["id"] for each in have}} - {{each["id"] for each in will}})
        if not failed:
            app.update(json.loads(option("--body")))
    else:
        document = {{"value": state["granted"]}} if "servicePrincipals" in uri else state["apps"][uri[-10:]]
        found = jmespath.search(option("--query"), document)
        answer = json.dumps(found, indent=2) if option("--output") == "json" else found or ""
else:
    failed = True
json.dump(state, open(path, "w"))
print(answer)
sys.exit(failed)
"""


class Directory:
    """A tenant, as far as the script sees one."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "directory.json"
        program = folder / "bin" / "az"
        program.parent.mkdir()
        program.write_text(STAND_IN)
        program.chmod(0o755)
        self._environment = os.environ | {
            "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
            "DIRECTORY": str(self._file),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments], env=self._environment, capture_output=True, text=True, check=False
        )

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._file.read_text())
        return found

    def put(self, state: dict[str, Any]) -> None:
        self._file.write_text(json.dumps(state))


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


def test_the_syntax_is_right_and_it_can_be_run() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)], check=False).returncode == 0
    assert os.access(SCRIPT, os.X_OK)


def test_it_registers_roles_and_scopes_that_the_service_knows(directory: Directory) -> None:
    ran = directory.run()
    assert ran.returncode == 0, ran.stderr
    (registered,) = directory.state["apps"].values()
    named = [*registered["appRoles"], *registered["api"]["oauth2PermissionScopes"]]
    assert {each["value"] for each in named} == {entry.partition("=")[0].strip() for entry in AUTH_ROLES.split(",")}
    # Entra takes neither an id nor a name twice, not even once as a role and once as a scope.
    assert len({each["id"] for each in named}) == len(named) == len({each["value"] for each in named})


def test_the_azure_cli_gets_tokens_that_do_not_limit_its_user(directory: Directory) -> None:
    directory.run()
    (registered,) = directory.state["apps"].values()
    (trusted,) = registered["api"]["preAuthorizedApplications"]
    scopes = {each["id"]: each["value"] for each in registered["api"]["oauth2PermissionScopes"]}
    assert [scopes[each] for each in trusted["delegatedPermissionIds"]] == ["Dicom.ReadWrite"]
    assert "Dicom.ReadWrite=*" in AUTH_ROLES


def test_tokens_are_of_version_2_and_the_audience_is_printed(directory: Directory) -> None:
    printed = directory.run().stdout
    ((app, registered),) = directory.state["apps"].items()
    assert registered["api"]["requestedAccessTokenVersion"] == 2
    assert registered["identifierUris"] == [f"api://{app}"]
    assert f'azd env set DICOMWEB_AUTH_AUDIENCE "{app},api://{app}"' in printed
    assert directory.state["services"] == [app]


def test_a_second_run_changes_nothing(directory: Directory) -> None:
    directory.run()
    before = directory.state
    assert directory.run().returncode == 0
    assert {**directory.state, "calls": []} == {**before, "calls": []}


def test_a_role_is_given_once(directory: Directory) -> None:
    directory.run("Archive")
    for _ in range(2):
        ran = directory.run("--grant", "Dicom.Reader", "somebody@example.com", "Archive")
        assert ran.returncode == 0, ran.stderr
    ((app, registered),) = directory.state["apps"].items()
    (reader,) = [role["id"] for role in registered["appRoles"] if role["value"] == "Dicom.Reader"]
    (granted,) = directory.state["granted"]
    assert {name: granted[name] for name in ("principalId", "resourceId", "appRoleId")} == {
        "principalId": "person-somebody@example.com",
        "resourceId": f"service-of-{app}",
        "appRoleId": reader,
    }


def test_a_role_is_taken_away_again_and_no_other(directory: Directory) -> None:
    directory.run()
    for role, who in (("Dicom.Reader", "a@example.com"), ("Dicom.Write", "a@example.com"), ("Dicom.Reader", "b@b.b")):
        directory.run("--grant", role, who)
    before = directory.state["granted"]
    assert directory.run("--revoke", "Dicom.Reader", "a@example.com").returncode == 0
    assert directory.state["granted"] == before[1:]
    again = directory.run("--revoke", "Dicom.Reader", "a@example.com")
    assert (again.returncode, "does not have" in again.stdout) == (0, True)
    assert directory.state["granted"] == before[1:]


def test_what_somebody_has_added_stays_and_what_is_ours_is_put_right(directory: Directory) -> None:
    directory.run()
    state = directory.state
    ((app, registered),) = state["apps"].items()
    role = {"id": "11111111-0000-4000-8000-000000000001", "value": "Dicom.Auditor", "isEnabled": True}
    scope = {"id": "11111111-0000-4000-8000-000000000002", "value": "Dicom.Search", "isEnabled": True}
    client = {"appId": "22222222-0000-4000-8000-000000000003", "delegatedPermissionIds": [scope["id"]]}
    registered["appRoles"][0]["description"] = "changed"
    registered["appRoles"].append(role)
    registered["api"]["oauth2PermissionScopes"].insert(0, scope)
    registered["api"]["preAuthorizedApplications"].append(client)
    directory.put(state)
    ran = directory.run()
    assert ran.returncode == 0, ran.stderr
    found = directory.state["apps"][app]
    assert [each["value"] for each in found["appRoles"]].count("Dicom.Auditor") == 1
    assert len(found["appRoles"]) == 5 and found["appRoles"][0]["description"] != "changed"
    assert scope in found["api"]["oauth2PermissionScopes"] and len(found["api"]["oauth2PermissionScopes"]) == 3
    assert client in found["api"]["preAuthorizedApplications"] and len(found["api"]["preAuthorizedApplications"]) == 2


def test_an_object_id_is_taken_as_it_is(directory: Directory) -> None:
    directory.run()
    directory.run("--grant", "Dicom.Write", "6f1c1d2e-0000-4000-8000-000000000001")
    assert directory.state["granted"][0]["principalId"] == "6f1c1d2e-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--grant", "Dicom.Reader"), "usage"),
        (("--help",), "usage"),
        (("--grant", "Dicom.Reader", "x", "Nobody"), "not registered"),
    ],
)
def test_what_cannot_be_done_is_said(directory: Directory, arguments: tuple[str, ...], said: str) -> None:
    ran = directory.run(*arguments)
    assert ran.returncode != 0
    assert said in ran.stderr


def test_a_role_that_does_not_exist_is_refused(directory: Directory) -> None:
    directory.run()
    ran = directory.run("--grant", "Dicom.King", "somebody@example.com")
    assert ran.returncode != 0
    assert "no role Dicom.King" in ran.stderr
    assert directory.state["granted"] == []
