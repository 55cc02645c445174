"""What roles and scopes allow."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth.actions import Action
from shared.auth.grants import Grants
from shared.config import Settings
from shared.errors import SettingError

ALL = "read write delete"
ROLES = str(Settings(dicom_storage_connection="UseDevelopmentStorage=true").auth_roles)


def allowed(claims: dict[str, Any], roles: str = ROLES, claim: str = "roles") -> str:
    """The actions, in the order of `Action`."""
    return " ".join(each.value for each in Action if each in Grants(roles, claim).actions(claims))


@pytest.mark.parametrize(
    ("claims", "actions"),
    [
        ({}, ""),
        # Roles grant.
        ({"roles": ["Dicom.Owner"]}, ALL),
        ({"roles": ["Dicom.Reader"]}, "read"),
        ({"roles": "Dicom.Reader"}, "read"),
        ({"roles": "Dicom.Reader Dicom.Delete"}, "read delete"),
        ({"roles": ["Dicom.Reader", "Dicom.Write", "Else"]}, "read write"),
        ({"roles": ["Else", "dicom.owner", "Dicom.Owner ", "Dicom", "*", "read", ""]}, ""),
        # What the issuer lets the client do grants.
        ({"scope": "openid Dicom.Read profile"}, "read"),
        ({"scope": ["Dicom.Write", "email"]}, "write"),
        ({"scope": "openid profile"}, ""),
        ({"roles": ["Dicom.Reader"], "scope": "Dicom.Write"}, "read write"),
        ({"roles": ["Dicom.Reader"], "scope": "openid"}, "read"),
        # What an application was consented to limits.
        ({"scp": "Dicom.ReadWrite"}, ""),
        ({"scp": "Dicom.ReadWrite", "roles": []}, ""),
        ({"scp": "Dicom.ReadWrite", "roles": ["Dicom.Reader"]}, "read"),
        ({"scp": "Dicom.Read", "roles": ["Dicom.Owner"]}, "read"),
        ({"scp": "Dicom.Read Dicom.Delete", "roles": ["Dicom.Owner"]}, "read delete"),
        ({"scp": ["Dicom.Read"], "roles": ["Dicom.Owner"]}, "read"),
        ({"scp": "Dicom.Read", "roles": ["Dicom.Write"]}, ""),
        ({"scp": "user_impersonation", "roles": ["Dicom.Owner"]}, ""),
        ({"scp": "", "roles": ["Dicom.Owner"]}, ""),
        ({"scp": None, "roles": ["Dicom.Owner"]}, ""),
        ({"scp": "Dicom.Read", "scope": "Dicom.ReadWrite"}, "read"),
        # Other types are nothing.
        ({"roles": 5}, ""),
        ({"roles": {"Dicom.Owner": 1}}, ""),
        ({"roles": [["Dicom.Owner"]]}, ""),
        ({"roles": [5, None, {}, "Dicom.Reader"]}, "read"),
        ({"roles": True, "scope": 1}, ""),
    ],
)
def test_roles_grant_and_consent_limits(claims: dict[str, Any], actions: str) -> None:
    assert allowed(claims) == actions


@pytest.mark.parametrize("claim", ["scp", "scope"])
def test_scopes_can_be_made_to_grant(claim: str) -> None:
    assert allowed({claim: "Dicom.Read", "roles": ["Dicom.Owner"]}, claim=claim) == "read"


@pytest.mark.parametrize(
    ("claim", "claims", "actions"),
    [
        ("realm_access.roles", {"realm_access": {"roles": ["Dicom.Reader"]}}, "read"),
        ("resource_access.dicom.roles", {"resource_access": {"dicom": {"roles": ["Dicom.Owner"]}}}, ALL),
        ("https://example.org/roles", {"https://example.org/roles": ["Dicom.Reader"]}, "read"),
        ("a.b", {"a.b": ["Dicom.Reader"], "a": {"b": ["Dicom.Owner"]}}, "read"),
        ("a.b.c", {"a": {"b.c": ["Dicom.Reader"]}}, "read"),
        ("groups", {"groups": ["Dicom.Reader"], "roles": ["Dicom.Owner"]}, "read"),
        ("realm_access.roles", {"realm_access": ["Dicom.Owner"]}, ""),
        ("realm_access.roles", {"realm_access": "Dicom.Owner"}, ""),
        ("realm_access.roles", {"roles": ["Dicom.Owner"]}, ""),
        ("a.b", {"a": None}, ""),
    ],
)
def test_the_claim_of_roles_may_lie_within_another(claim: str, claims: dict[str, Any], actions: str) -> None:
    assert allowed(claims, claim=claim) == actions


@pytest.mark.parametrize(
    ("roles", "role", "actions"),
    [
        ("a=*", "a", ALL),
        ("a=read", "a", "read"),
        (" a = write  delete , b=read ,", "a", "write delete"),
        ("a=read, b=*", "b", ALL),
        ("imaging staff=read", "imaging staff", "read"),
        ("a=read", "b", ""),
    ],
)
def test_the_setting_says_what_each_allows(roles: str, role: str, actions: str) -> None:
    assert allowed({"roles": [role]}, roles) == actions


@pytest.mark.parametrize(
    ("roles", "entry"),
    [
        ("a", 1),
        ("a=", 1),
        ("=read", 1),
        ("a=read, b", 2),
        ("a=read;b=read", 1),
        ("a=b=read", 1),
        ("a=reed", 1),
        ("a=READ", 1),
        ("a=read, , b=read update", 2),
        ("a=read, a=write", 2),
    ],
)
def test_a_malformed_setting_is_told_by_its_entry(roles: str, entry: int) -> None:
    with pytest.raises(SettingError, match=rf"AUTH_ROLES.*entry {entry}\b"):
        Grants(roles, "roles")


@pytest.mark.parametrize(("roles", "claim", "name"), [("", "roles", "AUTH_ROLES"), (" , ", "roles", "AUTH_ROLES")])
def test_an_empty_setting_is_told(roles: str, claim: str, name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} is empty"):
        Grants(roles, claim)


@pytest.mark.parametrize("claim", ["", ".", "..", "roles.", ".roles", "a..b"])
def test_a_claim_has_a_name(claim: str) -> None:
    with pytest.raises(SettingError, match="AUTH_ROLES_CLAIM"):
        Grants(ROLES, claim)


_NAMES = st.lists(st.sampled_from([each.split("=")[0].strip() for each in ROLES.split(",")] + ["Else"]))
_CLAIMS = st.fixed_dictionaries({}, optional={"roles": _NAMES, "scope": _NAMES, "scp": _NAMES})


@given(claims=_CLAIMS, data=st.data())
def test_what_is_taken_away_never_adds_a_right(claims: dict[str, list[str]], data: st.DataObject) -> None:
    before = Grants(ROLES, "roles").actions(claims)
    fewer = {name: data.draw(st.lists(st.sampled_from(value))) if value else [] for name, value in claims.items()}
    assert Grants(ROLES, "roles").actions(fewer) <= before
    for name in ("roles", "scope"):
        without = {each: value for each, value in claims.items() if each != name}
        assert Grants(ROLES, "roles").actions(without) <= before
