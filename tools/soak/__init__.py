"""The server for an hour under mixed requests, restarts and kills. `python -m scripts.soak --help`.

command.py     what is asked for, the run from beginning to end
lives.py       the server's process through restarts and kills
steps.py       what a client does: one method a kind of request
alone.py       the recordings, and what each request is answered when it is the only one
ledger.py      every accepted job, and what became of it
figures.py     what was measured, as a table and as JSON
"""
