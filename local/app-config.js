// The configuration of the OHIF viewer that `make viewer` serves, in place of the one in its package, which names a public
// server. On another origin, replace `root` by the service's URL; docs/viewer.md says what else that takes.
const root = '/v2';

window.config = {
  name: 'the DICOMweb service on this origin',
  routerBasename: null,
  extensions: [],
  modes: [],
  customizationService: {},
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: true,
  // Without a graphics card images are drawn by the processor; that needs no dialogue.
  showCPUFallbackMessage: false,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  groupEnabledModesFirst: true,
  investigationalUseDialog: { option: 'never' },
  maxNumRequests: { interaction: 100, thumbnail: 5, prefetch: 25 },
  showErrorDetails: 'always',
  defaultDataSourceName: 'here',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'here',
      configuration: {
        friendlyName: 'The DICOMweb service on this origin',
        name: 'here',
        qidoRoot: root,
        wadoRoot: root,
        // The viewer wants it set; the service has no WADO-URI, and with `imageRendering` as below nothing asks for it.
        wadoUriRoot: root,
        qidoSupportsIncludeField: true,
        supportsFuzzyMatching: true,
        // A text filter is sent as *text*.
        supportsWildcard: true,
        // One request for each series' metadata, at the same time, instead of one for the study's.
        enableStudyLazyLoad: true,
        // Frames as they are stored; the viewer decodes them.
        imageRendering: 'wadors',
        // The service draws the thumbnails, so the study list can show them before any image is loaded.
        thumbnailRendering: 'thumbnail',
        thumbnailRequestStrategy: 'fetch',
        // An Accept header without quotation marks needs no preflight on another origin.
        omitQuotationForMultipartRequest: true,
        // The service's BulkDataURIs are whole URLs, so what they would be relative to does not matter.
        bulkDataURI: { enabled: true, relativeResolution: 'series' },
        dicomUploadEnabled: true,
      },
    },
  ],
};
