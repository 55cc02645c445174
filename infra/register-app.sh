#!/usr/bin/env bash
# Registers the service with Microsoft Entra, so that tokens can be issued for it: an app registration with the roles
# and scopes that AUTH_ROLES knows. Nothing secret is made. It can be run again, and then puts right what has been
# changed of that; roles, scopes and clients that somebody has added stay. Needs the Azure CLI, signed in (`az login`)
# as somebody who may register applications, and, for --grant and --revoke, assign app roles.
#
#   infra/register-app.sh [NAME]
#       registers the service as NAME, by default "DICOMweb"
#   infra/register-app.sh --grant ROLE WHO [NAME]
#       gives a role to a person, by sign-in name, or to a group or service principal (such as a managed identity), by
#       object id
#   infra/register-app.sh --revoke ROLE WHO [NAME]
#       takes it away again; tokens that are out already count until they expire, an hour or so
set -euo pipefail

GRAPH=https://graph.microsoft.com/v1.0
# The Azure CLI's own application, which may then get tokens for the service: `az account get-access-token`.
AZURE_CLI=04b07795-8ddb-461a-bbee-02f9e1bf7b46
# Ids within the registration, the same each time, so that running this again changes nothing, and how ours begin.
READ_WRITE=5b0d8a52-93c5-4b7e-9a0e-6a3a2f1f7c10
SCOPE_IDS=5b0d8a52-93c5-4b7e-9a0e-6a3a2f1f7c
ROLE_IDS=2d2a3c64-5f0e-4d5e-8f0a-0c1d1e7a1b

# What an application may do at most for a person who signs in to it. The service takes scopes for a limit: what the
# person may do, their roles say, and without a role they may do nothing.
SCOPES='[
  {"id": "'$READ_WRITE'", "value": "Dicom.ReadWrite", "type": "User", "isEnabled": true,
   "adminConsentDisplayName": "Search, retrieve, store and delete DICOM data",
   "adminConsentDescription": "Lets the application do whatever the roles of whoever signed in allow.",
   "userConsentDisplayName": "Search, retrieve, store and delete DICOM data",
   "userConsentDescription": "Lets the application do whatever your roles allow."},
  {"id": "5b0d8a52-93c5-4b7e-9a0e-6a3a2f1f7c11", "value": "Dicom.Read", "type": "User", "isEnabled": true,
   "adminConsentDisplayName": "Search and retrieve DICOM data",
   "adminConsentDescription": "Lets the application search and retrieve, if the roles of whoever signed in allow it.",
   "userConsentDisplayName": "Search and retrieve DICOM data",
   "userConsentDescription": "Lets the application search and retrieve, if your roles allow it."}
]'
ROLES='[
  {"id": "2d2a3c64-5f0e-4d5e-8f0a-0c1d1e7a1b01", "value": "Dicom.Owner", "displayName": "DICOM Data Owner",
   "description": "Reads, stores and deletes.", "allowedMemberTypes": ["User", "Application"], "isEnabled": true},
  {"id": "2d2a3c64-5f0e-4d5e-8f0a-0c1d1e7a1b02", "value": "Dicom.Reader", "displayName": "DICOM Data Reader",
   "description": "Searches and retrieves.", "allowedMemberTypes": ["User", "Application"], "isEnabled": true},
  {"id": "2d2a3c64-5f0e-4d5e-8f0a-0c1d1e7a1b03", "value": "Dicom.Write", "displayName": "DICOM Data Writer",
   "description": "Stores, and nothing else: for modalities.", "allowedMemberTypes": ["User", "Application"],
   "isEnabled": true},
  {"id": "2d2a3c64-5f0e-4d5e-8f0a-0c1d1e7a1b04", "value": "Dicom.Delete", "displayName": "DICOM Data Deleter",
   "description": "Deletes, and nothing else.", "allowedMemberTypes": ["User", "Application"], "isEnabled": true}
]'

client_id() { az ad app list --display-name "$1" --query "[?displayName=='$1'].appId" --output tsv; }

patch() { az rest --method PATCH --uri "$1" --headers Content-Type=application/json --body "$2" --output none; }

# A JSON list of ours, and behind it what Graph has besides: it takes a list for the whole of it, and removes nothing
# that is enabled. $1: the URL of the registration. $2: a query for what is not ours. $3: ours.
with_others() {
  local others
  others=$(az rest --method GET --uri "$1" --query "$2" --output json)
  if [ -z "$others" ] || [ "$others" = "[]" ] || [ "$others" = null ]; then
    echo "$3"
  else
    echo "${3%]*}, ${others#*[}"
  fi
}

register() {
  local name=$1 app object url roles scopes clients api
  app=$(client_id "$name")
  if [ "$(wc -w <<<"$app")" -gt 1 ]; then
    echo "Several registrations are called $name; choose another name, or delete those that are not wanted." >&2
    exit 1
  fi
  if [ -z "$app" ]; then
    app=$(az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg --query appId --output tsv)
  fi
  object=$(az ad app show --id "$app" --query id --output tsv)

  url=$GRAPH/applications/$object
  roles=$(with_others "$url" "appRoles[?!starts_with(id, '$ROLE_IDS')]" "$ROLES")
  scopes=$(with_others "$url" "api.oauth2PermissionScopes[?!starts_with(id, '$SCOPE_IDS')]" "$SCOPES")
  clients=$(with_others "$url" "api.preAuthorizedApplications[?appId!='$AZURE_CLI']" \
    "[{\"appId\": \"$AZURE_CLI\", \"delegatedPermissionIds\": [\"$READ_WRITE\"]}]")

  # Version 2 tokens, whose aud is the client id; and the scopes, before anybody can be trusted with one.
  api="\"requestedAccessTokenVersion\": 2, \"oauth2PermissionScopes\": $scopes"
  patch "$url" "{\"identifierUris\": [\"api://$app\"], \"appRoles\": $roles, \"api\": {$api}}"
  patch "$url" "{\"api\": {$api, \"preAuthorizedApplications\": $clients}}"
  # Roles are granted on the service principal, which is the registration at work in this tenant.
  az ad sp show --id "$app" --output none 2>/dev/null || az ad sp create --id "$app" --output none

  cat <<TEXT
$name is registered; its client id is $app.

Tell the deployment:
  azd env set DICOMWEB_AUTH_AUDIENCE "$app,api://$app"
or, without azd, give the parameter authAudience that value.

Let somebody in; the role is Dicom.Owner, Dicom.Reader, Dicom.Write or Dicom.Delete:
  infra/register-app.sh --grant Dicom.Owner somebody@example.com "$name"

Get a token for the person who is signed in to the Azure CLI:
  az account get-access-token --scope "api://$app/.default" --query accessToken --output tsv
TEXT
}

# Gives a role or takes it away. $1: --grant or --revoke.
change() {
  local what=$1 role=$2 who=$3 name=$4 app principal service assigned role_id granted
  app=$(client_id "$name")
  [ -n "$app" ] || { echo "$name is not registered; run this without --grant first." >&2; exit 1; }
  service=$(az ad sp show --id "$app" --query id --output tsv)
  role_id=$(az ad sp show --id "$app" --query "appRoles[?value=='$role'].id" --output tsv)
  [ -n "$role_id" ] || { echo "$name has no role $role." >&2; exit 1; }
  # Whatever is no object id is the sign-in name of a person.
  if [[ $who =~ ^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$ ]]; then
    principal=$who
  else
    principal=$(az ad user show --id "$who" --query id --output tsv)
  fi
  assigned=$GRAPH/servicePrincipals/$service/appRoleAssignedTo
  granted=$(az rest --method GET --uri "$assigned?\$top=999" \
    --query "value[?principalId=='$principal' && appRoleId=='$role_id'] | [0].id" --output tsv)
  if [ "$what" = --revoke ]; then
    [ -n "$granted" ] || { echo "$who does not have the role $role."; return; }
    az rest --method DELETE --uri "$assigned/$granted" --output none
    echo "$who does not have the role $role any more; tokens that are out count until they expire."
    return
  fi
  if [ -n "$granted" ]; then
    echo "$who has the role $role already."
    return
  fi
  az rest --method POST --uri "$assigned" \
    --headers Content-Type=application/json --output none \
    --body "{\"principalId\": \"$principal\", \"resourceId\": \"$service\", \"appRoleId\": \"$role_id\"}"
  echo "$who has the role $role; tokens issued from now on say so."
}

case "${1:-}" in
  --grant | --revoke)
    [ $# -ge 3 ] || { echo "usage: $0 $1 ROLE WHO [NAME]" >&2; exit 2; }
    change "$1" "$2" "$3" "${4:-DICOMweb}"
    ;;
  -*)
    echo "usage: $0 [NAME] | $0 --grant ROLE WHO [NAME] | $0 --revoke ROLE WHO [NAME]" >&2
    exit 2
    ;;
  *)
    register "${1:-DICOMweb}"
    ;;
esac
