"""The server under a constant rate of requests, by k6. `python -m scripts.load_test --help`.

command.py     what is asked for, the run from beginning to end
plan.py        the arguments as k6's scenarios and thresholds; k6's summary as rows and a table
server.py      `python -m server` as a process
scenario.js    what k6 runs: one request of a scenario
"""
