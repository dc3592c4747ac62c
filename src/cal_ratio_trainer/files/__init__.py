"""Files on disk: atomic writes, checksums, locks and the cache of remote files. Nothing about jets."""
