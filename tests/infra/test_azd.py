"""What stands around the templates agrees with them: azd's files, the workflows, and the linter's configuration."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.infra.bicep import INFRA, at, templates_of, text_of

ROOT = INFRA.parent
MAIN = templates_of()["main.bicep"]
PARAMETERS = json.loads((INFRA / "main.parameters.json").read_text("utf-8"))["parameters"]
AZURE = yaml.safe_load((ROOT / "azure.yaml").read_text("utf-8"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))

#: Variables that azd sets itself.
OF_AZD = {"AZURE_ENV_NAME", "AZURE_LOCATION", "AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}


def variables() -> dict[str, tuple[str, str | None]]:
    """The environment variables of the parameters file: which parameter each sets, and its default there."""
    found = {}
    for name, parameter in PARAMETERS.items():
        if isinstance(parameter["value"], str):
            match = re.fullmatch(r"\$\{([A-Z_]+)(?:=(.*))?\}", parameter["value"])
            assert match is not None, f"{name} is neither a variable nor a list or object"
            found[match[1]] = (name, match[2])
    return found


def test_the_parameters_file_names_params() -> None:
    params = MAIN.of("param")
    assert PARAMETERS.keys() <= params.keys()
    assert {name for name, param in params.items() if param.value is None} <= PARAMETERS.keys()


@pytest.mark.parametrize("variable", sorted(variables()))
def test_a_variable_that_is_not_set_leaves_the_default_of_the_template(variable: str) -> None:
    name, default = variables()[variable]
    declared = MAIN.of("param")[name].value
    # azd passes an empty text on where the template's default is another one; then the file has to repeat it.
    assert text_of(declared).strip("'") == (default or "")


def test_lists_and_objects_start_empty_in_the_template_and_are_for_whoever_deploys_to_fill() -> None:
    plain = {name: each["value"] for name, each in PARAMETERS.items() if not isinstance(each["value"], str)}
    assert {name: type(value) for name, value in plain.items()} == {"allowedIpRanges": list, "extraSettings": dict}
    assert {name: text_of(MAIN.of("param")[name].value) for name in plain} == {
        "allowedIpRanges": "[]",
        "extraSettings": "{}",
    }


def test_azd_deploys_this_folder_as_a_function_app() -> None:
    service = AZURE["services"]["api"]
    assert AZURE["services"].keys() == {"api"}
    assert (service["project"], service["language"], service["host"]) == (".", "python", "function")
    assert AZURE["infra"] == {"provider": "bicep", "path": "infra", "module": "main"}


def test_exactly_the_app_has_the_tag_by_which_azd_finds_it() -> None:
    tagged = [
        each.type
        for template in templates_of().values()
        for each in template.of("resource").values()
        if "'azd-service-name': 'api'" in text_of(each.value)
    ]
    assert tagged == ["Microsoft.Web/sites@2024-11-01"]
    assert sum(text_of(each.root).count("azd-service-name") for each in templates_of().values()) == 1


def test_a_pipeline_gets_every_variable() -> None:
    wanted = variables().keys() - OF_AZD - {"DICOMWEB_GRANT_DATA_ROLES"}
    assert set(AZURE["pipeline"]["variables"]) == wanted
    workflow = yaml.safe_load((ROOT / ".github/workflows/azure-dev.yml").read_text("utf-8"))
    environment = workflow["jobs"]["deploy"]["env"]
    assert environment.keys() >= wanted | {"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_SUBSCRIPTION_ID"}
    assert {name: environment[name] for name in wanted} == {name: f"${{{{ vars.{name} }}}}" for name in wanted}


def test_a_pipeline_gets_no_right_to_the_data() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/azure-dev.yml").read_text("utf-8"))
    # azd finds out by itself what the deployer is, so this must be a variable of ours.
    assert workflow["jobs"]["deploy"]["env"]["DICOMWEB_GRANT_DATA_ROLES"] == "false"
    assert variables()["DICOMWEB_GRANT_DATA_ROLES"] == ("grantDataRoles", "true")
    storage = MAIN.of("module")["dataStorage"].value
    assert text_of(at(storage, "params.adminPrincipalId")) == "grantDataRoles ? principalId : ''"


def test_the_documentation_lists_what_azd_can_be_told() -> None:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| `(\w+)` \| `?([^`|]*?)`? \|",
        (ROOT / "docs/deployment.md").read_text("utf-8"),
        re.MULTILINE,
    )
    documented = {variable: (name, None if default == "(empty)" else default) for variable, name, default in rows}
    assert documented == {name: each for name, each in variables().items() if name not in OF_AZD}


def test_outputs_that_azd_keeps_are_in_capitals() -> None:
    assert [name for name in MAIN.of("output") if not re.fullmatch(r"[A-Z][A-Z0-9_]+", name)] == []
    assert {"SERVICE_API_URI", "SERVICE_API_NAME", "AZURE_RESOURCE_GROUP"} <= MAIN.of("output").keys()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_little_and_use_fixed_versions(path: Path) -> None:
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "timeout-minutes" in job
        assert job.get("permissions", {}).items() <= {"contents": "read", "id-token": "write"}.items()
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", step.get("uses", "a/b@v1"))
            # What a workflow is given goes into scripts as environment variables, never as text.
            assert "${{" not in step.get("run", "")
    assert "secrets." not in text


def test_the_compiler_runs_where_it_exists() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    steps = " ".join(step.get("run", "") for step in workflow["jobs"]["compile-templates"]["steps"])
    assert "az bicep build --file infra/main.bicep" in steps
    assert "az bicep lint --file infra/main.bicep" in steps


def test_the_linter_fails_on_what_matters() -> None:
    rules = json.loads((INFRA / "bicepconfig.json").read_text("utf-8"))["analyzers"]["core"]["rules"]
    for name in (
        "no-unused-params",
        "no-unused-vars",
        "outputs-should-not-contain-secrets",
        "secure-secrets-in-params",
    ):
        assert rules[name] == {"level": "error"}


def test_application_insights_gets_no_urls_and_every_audit_record() -> None:
    logging = json.loads((ROOT / "host.json").read_text("utf-8"))["logging"]
    assert logging["applicationInsights"] == {
        "samplingSettings": {"isEnabled": False},
        "enableDependencyTracking": False,
        "httpAutoCollectionOptions": {"enableHttpTriggerExtendedInfoCollection": False},
    }
    # What forwards requests to the worker, and what surrounds them, logs their paths as information.
    assert set(logging["logLevel"].values()) == {"Warning"}
    assert {"Microsoft", "Yarp", "System.Net.Http"} == set(logging["logLevel"])
