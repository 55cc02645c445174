// A virtual network with one subnet for the app and one for the private endpoints of its storage. The app itself keeps
// its public URL: whoever calls it comes from outside.

@description('Name of the virtual network.')
@minLength(2)
@maxLength(64)
param name string

@description('Azure region.')
param location string

@description('Tags of the resources.')
param tags object

@description('Address space of the network, at least a /22.')
param addressPrefix string

@description('Name of the subnet of the app.')
param appSubnetName string

@description('Resource ids of the storage accounts that get a private endpoint for blobs and one for tables.')
param storageAccountIds array

var storageServices = ['blob', 'table']

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [addressPrefix]
    }
    subnets: [
      {
        name: appSubnetName
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 0)
          // Flex Consumption apps run where Container Apps do; hence this delegation.
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'private-endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 1)
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

module endpoints 'private-endpoints.bicep' = [for service in storageServices: {
  name: 'private-${service}'
  params: {
    service: service
    location: location
    tags: tags
    networkId: network.id
    subnetId: '${network.id}/subnets/private-endpoints'
    storageAccountIds: storageAccountIds
  }
}]
