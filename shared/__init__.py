"""The DICOMweb service, as layers. Each package imports only those below it (see docs/architecture.md)."""
