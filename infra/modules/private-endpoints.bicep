// One service of storage, blob or table, made private: its DNS zone, and an endpoint in each account.

@description('The service: blob or table.')
@allowed(['blob', 'table'])
param service string

@description('Azure region.')
param location string

@description('Tags of the resources.')
param tags object

@description('Resource id of the virtual network, in which the zone is valid.')
param networkId string

@description('Resource id of the subnet of the endpoints.')
param subnetId string

@description('Resource ids of the storage accounts.')
param storageAccountIds array

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = {
  name: 'privatelink.${service}.${environment().suffixes.storage}'
  location: 'global'
  tags: tags
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: 'to-network'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
}

resource endpoint 'Microsoft.Network/privateEndpoints@2024-07-01' = [for accountId in storageAccountIds: {
  name: 'pep-${last(split(accountId, '/'))}-${service}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: accountId
          groupIds: [service]
        }
      }
    ]
  }
}]

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [for (accountId, i) in storageAccountIds: {
  parent: endpoint[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service
        properties: {
          privateDnsZoneId: zone.id
        }
      }
    ]
  }
}]
