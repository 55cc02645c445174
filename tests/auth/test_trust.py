"""What the settings of tokens mean, and how a wrong one is told."""

from typing import Any

import pytest

from shared.auth.actions import Action
from shared.auth.gate import gate_of
from shared.auth.trust import Trust, trust_of
from shared.errors import SettingError
from tests.auth.gates import TENANT, Clock, settings_with

TENANT_SETTINGS = {"auth_tenant_id": TENANT, "auth_audience": "api://dicom"}
PROVIDER_SETTINGS = {"auth_issuer": "https://id.example.org/realms/a", "auth_audience": "dicom"}


def test_a_tenant_has_two_issuers() -> None:
    assert trust_of(settings_with(**TENANT_SETTINGS)) == Trust(
        issuers=(f"https://login.microsoftonline.com/{TENANT}/v2.0", f"https://sts.windows.net/{TENANT}/"),
        audiences=("api://dicom",),
        tenant=TENANT,
        authority=f"https://login.microsoftonline.com/{TENANT}",
        keys_url=f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys",
    )


def test_the_id_of_a_tenant_has_no_case() -> None:
    assert trust_of(settings_with(**TENANT_SETTINGS | {"auth_tenant_id": TENANT.upper()})) == trust_of(
        settings_with(**TENANT_SETTINGS)
    )


@pytest.mark.parametrize(
    ("authority", "issuers"),
    [
        ("https://login.microsoftonline.us/", ("https://login.microsoftonline.us", "https://sts.windows.net")),
        (
            "https://login.partner.microsoftonline.cn",
            ("https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn"),
        ),
    ],
)
def test_national_clouds_have_issuers_of_their_own(authority: str, issuers: tuple[str, str]) -> None:
    trust = trust_of(settings_with(**TENANT_SETTINGS, auth_authority=authority))
    assert trust.issuers == (f"{issuers[0]}/{TENANT}/v2.0", f"{issuers[1]}/{TENANT}/")
    assert trust.keys_url == f"{issuers[0]}/{TENANT}/discovery/v2.0/keys"


def test_another_provider_has_one_issuer() -> None:
    issuer = PROVIDER_SETTINGS["auth_issuer"]
    assert trust_of(settings_with(**PROVIDER_SETTINGS)) == Trust((issuer,), ("dicom",), "", issuer, "")


@pytest.mark.parametrize("settings", [TENANT_SETTINGS, PROVIDER_SETTINGS])
def test_the_place_of_the_keys_can_be_set(settings: dict[str, Any]) -> None:
    url = "https://keys.example.org/keys?appid=1"
    assert trust_of(settings_with(**settings, auth_jwks_url=url)).keys_url == url


@pytest.mark.parametrize(
    ("settings", "changes", "named"),
    [
        (TENANT_SETTINGS, {"auth_tenant_id": ""}, "AUTH_TENANT_ID is empty"),
        (TENANT_SETTINGS, {"auth_tenant_id": "contoso.onmicrosoft.com"}, "AUTH_TENANT_ID must be a GUID"),
        (TENANT_SETTINGS, {"auth_tenant_id": "common"}, "AUTH_TENANT_ID must be a GUID"),
        (TENANT_SETTINGS, {"auth_tenant_id": TENANT + "/"}, "AUTH_TENANT_ID must be a GUID"),
        (TENANT_SETTINGS, {"auth_issuer": "https://id.example.org"}, "AUTH_TENANT_ID and AUTH_ISSUER"),
        (TENANT_SETTINGS, {"auth_audience": ""}, "AUTH_AUDIENCE is empty"),
        (TENANT_SETTINGS, {"auth_audience": " , ,"}, "AUTH_AUDIENCE is empty"),
        (TENANT_SETTINGS, {"auth_audience": 'a"b'}, "AUTH_AUDIENCE must"),
        (TENANT_SETTINGS, {"auth_audience": "a\\b"}, "AUTH_AUDIENCE must"),
        (TENANT_SETTINGS, {"auth_audience": "ok, a b"}, "AUTH_AUDIENCE must"),
        (TENANT_SETTINGS, {"auth_audience": "a\r\nb"}, "AUTH_AUDIENCE must"),
        (TENANT_SETTINGS, {"auth_authority": ""}, "AUTH_AUTHORITY must be a URL"),
        (TENANT_SETTINGS, {"auth_authority": "http://login.microsoftonline.com"}, "AUTH_AUTHORITY must be a URL"),
        (TENANT_SETTINGS, {"auth_authority": "login.microsoftonline.com"}, "AUTH_AUTHORITY must be a URL"),
        (TENANT_SETTINGS, {"auth_authority": f"https://login.microsoftonline.com/{TENANT}"}, "AUTH_AUTHORITY must be"),
        *(
            (TENANT_SETTINGS, {"auth_authority": f"https://login.example.org{end}"}, "AUTH_AUTHORITY must be")
            for end in ("?a", "?", "#", "#a")
        ),
        (TENANT_SETTINGS, {"auth_jwks_url": "http://keys.example.org"}, "AUTH_JWKS_URL must be"),
        (TENANT_SETTINGS, {"auth_jwks_url": "https://a b.example.org"}, "AUTH_JWKS_URL must be"),
        (TENANT_SETTINGS, {"auth_roles": "a=b"}, "AUTH_ROLES: entry 1"),
        (TENANT_SETTINGS, {"auth_roles_claim": ""}, "AUTH_ROLES_CLAIM"),
        (PROVIDER_SETTINGS, {"auth_issuer": ""}, "AUTH_TENANT_ID is empty"),
        (PROVIDER_SETTINGS, {"auth_issuer": "http://id.example.org"}, "AUTH_ISSUER must be a URL"),
        (PROVIDER_SETTINGS, {"auth_issuer": 'https://id.example.org/"'}, "AUTH_ISSUER must be a URL"),
        (PROVIDER_SETTINGS, {"auth_issuer": "https://id.example.org/?a=b"}, "AUTH_ISSUER must be a URL"),
        (PROVIDER_SETTINGS, {"auth_issuer": f"https://sts.windows.net/{TENANT}/"}, "AUTH_ISSUER is Microsoft Entra"),
        (PROVIDER_SETTINGS, {"auth_issuer": "https://LOGIN.microsoftonline.com/x"}, "AUTH_ISSUER is Microsoft Entra"),
        (PROVIDER_SETTINGS, {"auth_audience": ""}, "AUTH_AUDIENCE is empty"),
        (PROVIDER_SETTINGS, {"authentication": ""}, "AUTHENTICATION must be"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(settings: dict[str, Any], changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError) as refused:
        gate_of(settings_with(**settings | changes), Clock())
    assert named in str(refused.value)
    # The text is told to whoever calls the service.
    assert not [value for value in changes.values() if len(value) > 5 and value in str(refused.value)]


@pytest.mark.parametrize("authorization", [[], ["Basic dTpw"], ["Bearer x"], ["a", "b"]])
async def test_a_disabled_gate_lets_everybody_in(authorization: list[str]) -> None:
    gate = gate_of(settings_with(authentication="disabled", auth_tenant_id="not looked at"), Clock())
    caller = await gate.admit(authorization)
    assert (caller.subject, caller.application, caller.actions) == ("", "", frozenset(Action))
    await gate.close()


@pytest.mark.parametrize(
    ("settings", "authority"),
    [
        (TENANT_SETTINGS, f"https://login.microsoftonline.com/{TENANT}"),
        (PROVIDER_SETTINGS, "https://id.example.org/realms/a"),
    ],
)
def test_a_challenge_says_where_to_get_which_token(settings: dict[str, Any], authority: str) -> None:
    gate = gate_of(settings_with(**settings | {"auth_audience": "api://dicom, the-guid"}), Clock())
    assert gate.challenge == (f'Bearer authorization_uri="{authority}", resource_id="api://dicom", realm="api://dicom"')
