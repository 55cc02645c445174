// What the npm packages dicomweb-client and dcmjs make of the service: `node javascript.cjs`, with the addresses as JSON on
// standard input, prints what each call gave as JSON, for tests/clients/test_javascript_client.py to judge.
'use strict';

const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');

// The client is made for browsers; Node.js has no XMLHttpRequest of its own.
globalThis.XMLHttpRequest = require('xhr2');
const dcmjs = require('dcmjs');
const { api } = require('dicomweb-client');

const naturalize = dataset => dcmjs.data.DicomMetaDictionary.naturalizeDataset(dataset);
const digest = bytes => createHash('sha256').update(Buffer.from(bytes)).digest('hex');
const bufferOf = path => new Uint8Array(readFileSync(path)).buffer;
// The client makes an array of one even of an answer that is not in parts.
const base64 = ([bytes]) => Buffer.from(bytes).toString('base64');
// Names are arrays with methods of their own, and bulk values functions: JSON keeps what they say.
const plain = value => JSON.parse(JSON.stringify(value));

function readFile(buffer) {
  return plain(naturalize(dcmjs.data.DicomMessage.readFile(buffer).dict));
}

async function main() {
  const { root, study, series, instance, document, files } = JSON.parse(readFileSync(0, 'utf8'));
  const client = new api.DICOMwebClient({ url: root, verbose: false });
  const alone = new api.DICOMwebClient({ url: root, verbose: false, singlepart: 'bulkdata' });
  const of = { studyInstanceUID: study, seriesInstanceUID: series };
  const image = { ...of, sopInstanceUID: instance };

  await client.storeInstances({ datasets: Object.values(files).map(bufferOf) });

  const metadata = await client.retrieveStudyMetadata({ studyInstanceUID: study });
  const retrieved = await client.retrieveInstance(image);
  const stored = bufferOf(files[instance]);
  const documentMetadata = await client.retrieveInstanceMetadata({ ...of, sopInstanceUID: document });
  const bulk = documentMetadata['00420011'] ?? documentMetadata[0]['00420011'];

  return {
    studies: await client.searchForStudies({ queryParams: { StudyInstanceUID: study, PatientName: '*oe*' } }),
    series: await client.searchForSeries({ studyInstanceUID: study }),
    instances: await client.searchForInstances({ ...of, queryParams: { limit: 1, offset: 1 } }),
    nothing: await client.searchForStudies({ queryParams: { StudyInstanceUID: study, PatientID: 'nobody' } }),
    naturalized: plain(metadata.map(naturalize)),
    seriesMetadata: (await client.retrieveSeriesMetadata(of)).length,
    retrievedDigest: digest(retrieved),
    retrieved: readFile(retrieved),
    stored: readFile(stored),
    seriesCount: (await client.retrieveSeries(of)).length,
    studyDigests: (await client.retrieveStudy({ studyInstanceUID: study })).map(digest),
    frames: (await client.retrieveInstanceFrames({ ...image, frameNumbers: [2, 3] })).map(digest),
    rendered: base64(await client.retrieveInstanceRendered(image)),
    renderedFrame: base64(
      await client.retrieveInstanceFramesRendered({
        ...image,
        frameNumbers: [2],
        mediaTypes: [{ mediaType: 'image/png' }],
      })
    ),
    thumbnail: base64(await client.retrieveInstanceThumbnail(image)),
    bulk: (await client.retrieveBulkData({ BulkDataURI: bulk.BulkDataURI })).map(digest),
    bulkAlone: (await alone.retrieveBulkData({ BulkDataURI: bulk.BulkDataURI })).map(digest),
    bulkStart: base64(
      await alone.retrieveBulkData({ BulkDataURI: bulk.BulkDataURI, headers: { Range: 'bytes=0-8' } })
    ),
  };
}

main().then(
  report => process.stdout.write(JSON.stringify(report)),
  error => {
    console.error(error.status ? `${error.status} ${error.request?.responseURL ?? ''}` : error);
    process.exitCode = 1;
  }
);
