// The function app on its Flex Consumption plan, and its settings. Identity, storage and roles exist before it.

@description('Name of the function app; the first label of its URL.')
@minLength(2)
@maxLength(60)
param name string

@description('Name of the plan.')
@minLength(1)
@maxLength(60)
param planName string

@description('Azure region.')
param location string

@description('Tags of the resources.')
param tags object

@description('Resource id of the identity the app runs as.')
param identityId string

@description('Client id of that identity.')
param identityClientId string

@description('Where telemetry is sent.')
param insightsConnectionString string

@description('Blob endpoint of the storage of the host.')
param hostBlobEndpoint string

@description('Name of the storage account of the host.')
param hostAccountName string

@description('Table endpoint of the storage of the host.')
param hostTableEndpoint string

@description('Container of the package, in the storage of the host.')
param packageContainer string

@description('Blob endpoint of the data.')
param dataBlobEndpoint string

@description('Table endpoint of the data.')
param dataTableEndpoint string

@description('Blob container of the DICOM files.')
param dataContainer string

@description('Table of the index.')
param dataTable string

@description('Resource id of the subnet the app reaches its storage through; empty: none.')
param subnetId string

@description('Memory of one instance, in MB.')
param instanceMemoryMB int

@description('Most instances at a time.')
param maximumInstanceCount int

@description('Requests that one instance serves at a time.')
param httpConcurrency int

@description('Instances that are kept running.')
param alwaysReadyInstances int

@description('Whether instances are spread over availability zones.')
param zoneRedundant bool

@description('Largest body of a request, in bytes.')
param maxRequestBytes int

@description('Partitions of the index.')
param indexBuckets int

@description('Whether requests must carry a token: required or disabled.')
param authentication string

@description('Tenant whose tokens count.')
param authTenantId string

@description('What the aud claim of a token may be, separated by commas.')
param authAudience string

@description('Issuer of the tokens where that is not Entra.')
param authIssuer string

@description('What each role and scope may do.')
param authRoles string

@description('Origins whose web pages may call the service, separated by commas.')
param corsOrigins string

@description('How the audit log names studies: hashed or plain.')
param auditIdentifiers string

@description('Settings that replace those below, by name.')
param extraSettings object

// Every setting of docs/configuration.md, most of them at their defaults so that they can be seen and changed in one
// place. DICOM_STORAGE_CONNECTION is missing: a connection string holds a key, and there are none.
var serviceSettings = {
  DICOM_BLOB_ENDPOINT: dataBlobEndpoint
  DICOM_TABLE_ENDPOINT: dataTableEndpoint
  DICOM_CONTAINER: dataContainer
  DICOM_TABLE: dataTable
  AUTHENTICATION: authentication
  AUTH_TENANT_ID: authTenantId
  AUTH_AUTHORITY: environment().authentication.loginEndpoint
  AUTH_ISSUER: authIssuer
  AUTH_JWKS_URL: ''
  AUTH_AUDIENCE: authAudience
  AUTH_ROLES_CLAIM: 'roles'
  AUTH_ROLES: authRoles
  CORS_ORIGINS: corsOrigins
  CORS_MAX_AGE_SECONDS: '3600'
  AUDIT_IDENTIFIERS: auditIdentifiers
  INDEX_BUCKETS: string(indexBuckets)
  MAX_INSTANCE_BYTES: '4294967296'
  MAX_TRANSCODE_BYTES: '134217728'
  MAX_HEADER_BYTES: '67108864'
  DOWNLOAD_WINDOW: '4'
  UPLOAD_WINDOW: '8'
  SEARCH_SCAN_ROWS: '100000'
  GARBAGE_GRACE_SECONDS: '3600'
  ORPHAN_AGE_SECONDS: '86400'
  SWEEP_SCHEDULE: '0 */5 * * * *'
  ORPHAN_SCHEDULE: '0 30 3 * * *'
}

// What the Functions host and the SDKs read. Nothing here is a secret: every one of these places asks for an identity.
var platformSettings = {
  AZURE_CLIENT_ID: identityClientId
  // Nothing else is asked when the identity fails: neither other accounts nor what developers have signed in with.
  AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
  // The endpoints name it as well, but a host that starts may look for the account before it knows them
  // (azure-functions-host, issue 11787).
  AzureWebJobsStorage__accountName: hostAccountName
  AzureWebJobsStorage__blobServiceUri: hostBlobEndpoint
  AzureWebJobsStorage__tableServiceUri: hostTableEndpoint
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  AzureWebJobsDisableHomepage: 'true'
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: string(maxRequestBytes)
}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource app 'Microsoft.Web/sites@2024-11-01' = {
  name: name
  location: location
  // azd deploys the service api of azure.yaml to the one resource with this tag.
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    // CORS is the app's own, by CORS_ORIGINS: the platform's cannot expose headers, and would answer before the app.
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostBlobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        alwaysReady: alwaysReadyInstances > 0 ? [{ name: 'http', instanceCount: alwaysReadyInstances }] : []
        triggers: {
          http: {
            perInstanceConcurrency: httpConcurrency
          }
        }
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2024-11-01' = {
  parent: app
  name: 'appsettings'
  properties: union(serviceSettings, platformSettings, extraSettings)
}

@description('Name of the function app.')
output name string = app.name

@description('Where the service answers.')
output uri string = 'https://${app.properties.defaultHostName}'
