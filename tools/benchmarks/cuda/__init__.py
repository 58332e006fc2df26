"""Everything a GPU is asked, by one command and within a few minutes, on a machine with torch and transformers alone.

    python -m scripts.benchmark_cuda --shape large-v3

    command.py      what is asked, in which order, and what is left out where the time is too short
    report.py       what came out, as JSON and Markdown, written anew after every row
    equality.py     the engine against `generate`, recorded passes against plain ones, half precision against float32
    tests.py        the tests marked `cuda`, where pytest is installed
    speed.py        the engine beside `generate`, over batch sizes, drafts and graphs; time and memory
    diarization.py  the open diarizer on an hour of sound
    cold_start.py   from a new process to the first transcript
    bare.py         stand-ins for small packages that such a machine may lack

All weights are random and of the named shapes. With `--device cpu` the same code runs on `tools/fake_gpu.py`: that is
how it is tested, and its times mean nothing.
"""
