// The parts of one deployment, in the order in which they need each other. `azd up` and
// `az deployment sub create` both start here; docs/deployment.md shows how.
targetScope = 'subscription'

// ---------------------------------------------------------------------------------------------------------------------
// What and where

@description('Name of the environment. It is part of the name of the resource group, and all other names depend on it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of all resources. It must offer the Flex Consumption plan: az functionapp list-flexconsumption-locations.')
@minLength(1)
@metadata({ azd: { type: 'location' } })
param location string

@description('Name of the resource group, which is created.')
@minLength(1)
@maxLength(90)
param resourceGroupName string = 'rg-${environmentName}'

@description('Tags of all resources, beside the one that azd needs.')
param tags object = {}

// ---------------------------------------------------------------------------------------------------------------------
// Who may call

@description('Whether requests must carry a bearer token. "disabled" lets everybody who can reach the URL read and delete.')
@allowed(['required', 'disabled'])
param authentication string = 'required'

@description('Id of the Microsoft Entra tenant that issues the tokens. Empty: the tenant of the subscription, unless authIssuer is set.')
param authTenantId string = ''

@description('What the aud claim of a token may be, several values separated by commas; infra/register-app.sh prints it. Empty with "required": the service answers every request with 503.')
param authAudience string = ''

@description('Issuer of the tokens where that is not Entra: the URL of an OpenID provider, exactly as its tokens have it.')
param authIssuer string = ''

@description('What each role and scope may do: read, write, delete or *, separated by blanks; entries are separated by commas.')
param authRoles string = 'Dicom.Owner=*, Dicom.Reader=read, Dicom.Read=read, Dicom.Write=write, Dicom.Delete=delete, Dicom.ReadWrite=*'

@description('Origins whose web pages may call the service, separated by commas; * is every origin, empty is none.')
param corsOrigins string = ''

@description('How the audit log names studies: as a keyed hash, or plainly by their UIDs.')
@allowed(['hashed', 'plain'])
param auditIdentifiers string = 'hashed'

@description('Object id of who deploys, or of a group, who may then read and write the data from a laptop: the admin commands need it. Empty: nobody but the app.')
param principalId string = ''

@description('What principalId is; Azure refuses the role assignment when it is something else.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

@description('Whether principalId gets those rights. A pipeline needs none to the data it deploys a service for.')
param grantDataRoles bool = true

// ---------------------------------------------------------------------------------------------------------------------
// How large

@description('Memory of one instance, in MB; 512, 2048 and 4096 come with a quarter, one and two cores.')
@allowed([512, 2048, 4096])
param instanceMemoryMB int = 2048

@description('Most instances at a time. A bound of cost; Azure may refuse less than 40.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 100

@description('Requests that one instance serves at a time. Without it Azure gives each Python request an instance of its own. Lower it when instances run out of memory.')
@minValue(1)
@maxValue(1000)
param httpConcurrency int = 16

@description('Instances that are kept running and paid for day and night, so that no request waits for a start.')
@minValue(0)
@maxValue(1000)
param alwaysReadyInstances int = 0

@description('Largest body of a request, in bytes. Bodies are streamed; the default, 16 GiB, bounds time rather than memory.')
@minValue(104857600)
param maxRequestBytes int = 17179869184

@description('Whether instances are spread over availability zones. The region must have them, and at least two instances of each kind are then kept running and paid for.')
param zoneRedundant bool = false

@description('Partitions of the index. Fixed with the first request; a later value is ignored.')
@minValue(1)
@maxValue(64)
param indexBuckets int = 4

@description('Other settings of docs/configuration.md that shall differ from what modules/app.bicep sets, by name; values are texts.')
param extraSettings object = {}

// ---------------------------------------------------------------------------------------------------------------------
// How the data are kept

@description('Redundancy of the account with the data. ZRS needs a region with zones, GRS and GZRS one with a pair.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGRS', 'Standard_RAGZRS'])
param dataRedundancy string = 'Standard_LRS'

@description('Days for which deleted blobs and containers can be undeleted; 0 is not at all.')
@minValue(0)
@maxValue(365)
param softDeleteDays int = 14

@description('Age in days from which blobs move to the cool tier, which is cheaper to keep and dearer to read; 0 is never.')
@minValue(0)
@maxValue(36500)
param coolAfterDays int = 0

// ---------------------------------------------------------------------------------------------------------------------
// Logs and network

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Gigabytes of logs that are taken in a day; what comes after is lost, audit records too. -1 is no bound.')
@minValue(-1)
param logDailyCapGB int = -1

@description('Whether each read, write and delete of the storage account is logged. Those logs name study UIDs and whoever asked; they cost about as much as the requests.')
param storageLogs bool = false

@description('Whether the app reaches its storage through a virtual network and private endpoints, and nobody else reaches it.')
param vnetEnabled bool = false

@description('Address space of the virtual network, at least a /22.')
param vnetAddressPrefix string = '10.73.0.0/16'

@description('Public IPv4 addresses or ranges, such as those of an office, that still reach the storage account with the data when vnetEnabled is true.')
param allowedIpRanges array = []

// ---------------------------------------------------------------------------------------------------------------------
// The parts

var token = toLower(uniqueString(subscription().id, environmentName, location))
var allTags = union(tags, { 'azd-env-name': environmentName })
var vnetName = 'vnet-${token}'
var appSubnetName = 'app'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
  tags: allTags
}

// The identity exists before the app, so that its roles are there when the app starts for the first time.
module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: 'id-${token}'
    location: location
    tags: allTags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: 'log-${token}'
    insightsName: 'appi-${token}'
    location: location
    tags: allTags
    retentionDays: logRetentionDays
    dailyCapGB: logDailyCapGB
    publisherPrincipalId: identity.outputs.principalId
  }
}

// Patients' data and the index, and nothing else.
module dataStorage 'modules/data-storage.bicep' = {
  name: 'data-storage'
  scope: group
  params: {
    name: 'stdicom${token}'
    location: location
    tags: allTags
    redundancy: dataRedundancy
    softDeleteDays: softDeleteDays
    coolAfterDays: coolAfterDays
    isPrivate: vnetEnabled
    allowedIpRanges: allowedIpRanges
    appPrincipalId: identity.outputs.principalId
    adminPrincipalId: grantDataRoles ? principalId : ''
    adminPrincipalType: principalType
    workspaceId: monitoring.outputs.workspaceId
    logRequests: storageLogs
  }
}

// What the Functions host keeps for itself: the package, and the leases of timers.
module hostStorage 'modules/host-storage.bicep' = {
  name: 'host-storage'
  scope: group
  params: {
    name: 'sthost${token}'
    location: location
    tags: allTags
    // Instances in other zones are of no use if the package was in the one that is gone.
    redundancy: zoneRedundant ? 'Standard_ZRS' : 'Standard_LRS'
    isPrivate: vnetEnabled
    appPrincipalId: identity.outputs.principalId
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: group
  params: {
    name: vnetName
    location: location
    tags: allTags
    addressPrefix: vnetAddressPrefix
    appSubnetName: appSubnetName
    storageAccountIds: [dataStorage.outputs.id, hostStorage.outputs.id]
  }
}

// The subnet's id is put together here: an output of a module that may be absent may be null.
var appSubnetId = '${group.id}/providers/Microsoft.Network/virtualNetworks/${vnetName}/subnets/${appSubnetName}'

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    name: 'func-${token}'
    planName: 'plan-${token}'
    location: location
    tags: allTags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    hostAccountName: hostStorage.outputs.name
    hostBlobEndpoint: hostStorage.outputs.blobEndpoint
    hostTableEndpoint: hostStorage.outputs.tableEndpoint
    packageContainer: hostStorage.outputs.packageContainer
    dataBlobEndpoint: dataStorage.outputs.blobEndpoint
    dataTableEndpoint: dataStorage.outputs.tableEndpoint
    dataContainer: dataStorage.outputs.container
    dataTable: dataStorage.outputs.table
    subnetId: vnetEnabled ? appSubnetId : ''
    instanceMemoryMB: instanceMemoryMB
    maximumInstanceCount: maximumInstanceCount
    httpConcurrency: httpConcurrency
    alwaysReadyInstances: alwaysReadyInstances
    zoneRedundant: zoneRedundant
    maxRequestBytes: maxRequestBytes
    indexBuckets: indexBuckets
    authentication: authentication
    authTenantId: empty(authTenantId) && empty(authIssuer) ? tenant().tenantId : authTenantId
    authAudience: authAudience
    authIssuer: authIssuer
    authRoles: authRoles
    corsOrigins: corsOrigins
    auditIdentifiers: auditIdentifiers
    extraSettings: extraSettings
  }
  // Without its private endpoints the app would start and not find its storage.
  dependsOn: [network]
}

// ---------------------------------------------------------------------------------------------------------------------
// What azd and the documentation need afterwards; azd writes these into the environment.

@description('Where the service answers; DICOMweb is below /v2.')
output SERVICE_API_URI string = app.outputs.uri

@description('Name of the function app.')
output SERVICE_API_NAME string = app.outputs.name

@description('Name of the resource group.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Region of the resources.')
output AZURE_LOCATION string = location

@description('Tenant of the subscription.')
output AZURE_TENANT_ID string = tenant().tenantId

@description('Client id of the identity that the app reaches its storage with.')
output SERVICE_API_IDENTITY_CLIENT_ID string = identity.outputs.clientId

@description('Object id of that identity, for further role assignments.')
output SERVICE_API_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId

@description('Blob endpoint of the data, for admin commands from a laptop.')
output DICOM_BLOB_ENDPOINT string = dataStorage.outputs.blobEndpoint

@description('Table endpoint of the data, for admin commands from a laptop.')
output DICOM_TABLE_ENDPOINT string = dataStorage.outputs.tableEndpoint

@description('Name of the Log Analytics workspace.')
output LOG_ANALYTICS_WORKSPACE_NAME string = monitoring.outputs.workspaceName
