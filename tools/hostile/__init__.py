"""The server under thousands of hostile requests. `python -m scripts.hostile --help`.

command.py     what is asked for, the run from beginning to end, what is wrong at the end
attack.py      one request as the bytes of a connection; what the generators know of the server
json_bodies.py forms.py files.py heads.py timing.py     the generators, one function a kind
full.py        a few requests of the largest sizes, before the others with `--full`
send.py        one attack over a connection of its own, and what came back
prober.py      `/health` all the time, from a process of its own

The generators are plain patterns of too much, too deep, too slow and damaged. Nothing is searched for or kept that
makes others' software fail: a number and a seed say which request it was.
"""
