"""Progress measures as functions of arrays: one module a subject, no files, no models, no plots."""
