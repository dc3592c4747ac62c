"""Files on disk and on servers, whatever is in them.

`atomic` has files that appear whole and checksums; `leases` says which process works on a file, and `this_process`
whether a process still runs. `remote`, `http` and `cache` open, retry and copy remote files. `parquet` writes and
verifies Parquet and streams of tables, and `json_text` parses untrusted JSON. Not here: jets, networks and runs.
"""
