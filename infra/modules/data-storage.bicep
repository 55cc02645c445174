// The storage account of the data: DICOM files as blobs, the index as a table. It has no usable key; the app's
// identity, and an administrator if one is named, reach it by their roles.
//
// Blob versioning stays off: the app never overwrites a blob, and removes deleted ones in a sweep of its own. Soft
// delete is the net below that sweep, for blobs and for the container. Table Storage has no such thing; the index can
// be rebuilt from the blobs.

@description('Name of the storage account.')
@minLength(3)
@maxLength(24)
param name string

@description('Azure region.')
param location string

@description('Tags of the account.')
param tags object

@description('Redundancy, as the name of a SKU.')
param redundancy string

@description('Days for which deleted blobs and containers can be undeleted; 0 is not at all.')
param softDeleteDays int

@description('Age in days from which blobs move to the cool tier; 0 is never.')
param coolAfterDays int

@description('Whether only private endpoints, and the ranges below, reach the account.')
param isPrivate bool

@description('Public IPv4 addresses or ranges that reach a private account all the same.')
param allowedIpRanges array

@description('Object id of the identity of the app.')
param appPrincipalId string

@description('Object id of an administrator; empty: none.')
param adminPrincipalId string

@description('What the administrator is: User, Group or ServicePrincipal.')
param adminPrincipalType string

@description('Resource id of the Log Analytics workspace.')
param workspaceId string

@description('Whether each request is logged, which names study UIDs.')
param logRequests bool

@description('Blob container of the DICOM files.')
@minLength(3)
@maxLength(63)
param container string = 'dicom'

@description('Table of the index.')
@minLength(3)
@maxLength(63)
param table string = 'dicomindex'

// Storage Blob Data Contributor and Storage Table Data Contributor: data, but neither ownership nor keys.
var dataRoles = [
  'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
]
var softDelete = softDeleteDays > 0 ? { enabled: true, days: softDeleteDays } : { enabled: false }

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: redundancy
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: isPrivate && empty(allowedIpRanges) ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'None'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
      ipRules: [for address in allowedIpRanges: {
        action: 'Allow'
        value: address
      }]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: false
    deleteRetentionPolicy: softDelete
    containerDeleteRetentionPolicy: softDelete
  }
}

resource files 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = {
  parent: blobs
  name: container
  properties: {
    publicAccess: 'None'
  }
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2025-01-01' = {
  parent: account
  name: 'default'
}

resource index 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-01-01' = {
  parent: tables
  name: table
}

// The rule is always there and switched off by 0: removing it from the template would not remove it from the account.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'cool-by-age'
          type: 'Lifecycle'
          enabled: coolAfterDays > 0
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${container}/']
            }
            actions: {
              baseBlob: {
                tierToCool: {
                  daysAfterModificationGreaterThan: max(coolAfterDays, 1)
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource appAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in dataRoles: {
  name: guid(account.id, appPrincipalId, role)
  scope: account
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

resource adminAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in dataRoles: if (!empty(adminPrincipalId)) {
  name: guid(account.id, adminPrincipalId, role)
  scope: account
  properties: {
    principalId: adminPrincipalId
    principalType: adminPrincipalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

// Metrics are sums without names. Logs of requests hold URLs, and those hold study UIDs: they are opt-in.
resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
    logs: [
      {
        category: 'StorageRead'
        enabled: logRequests
      }
      {
        category: 'StorageWrite'
        enabled: logRequests
      }
      {
        category: 'StorageDelete'
        enabled: logRequests
      }
    ]
  }
}

resource tableDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: tables
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
    logs: [
      {
        category: 'StorageRead'
        enabled: logRequests
      }
      {
        category: 'StorageWrite'
        enabled: logRequests
      }
      {
        category: 'StorageDelete'
        enabled: logRequests
      }
    ]
  }
}

@description('Resource id of the account.')
output id string = account.id

@description('Blob endpoint.')
output blobEndpoint string = account.properties.primaryEndpoints.blob

@description('Table endpoint.')
output tableEndpoint string = account.properties.primaryEndpoints.table

@description('Blob container of the DICOM files.')
output container string = files.name

@description('Table of the index.')
output table string = index.name
