"""Thousands of recordings, or one very long one, on a Flyte cluster: `pyflyte run adapters/flyte/workflow.py --help`.

Only `workflow.py` and `processes.py` know Flyte; the tasks' work is plain functions in `shards.py` and
`recording.py`, which any other engine can call.
"""
