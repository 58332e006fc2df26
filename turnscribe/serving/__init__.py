"""The parts of `server.py`, which is where to start reading.

    problems.py     what can go wrong over HTTP, its status and its two JSON shapes
    workers.py      a bounded number of requests at a time, and a bounded queue
    bodies.py       request bodies: limited while they come in, spooled to disk, read as audio and parameters
    gate.py         API keys, and one line of log and metrics for each request
    metrics.py      what /metrics shows
    service.py      what all routes share: the handler once it is warm, the workers
    *_routes.py     the routes: the handler's contract, OpenAI's, jobs, the page
    openai.py       OpenAI's transcription form, and its events
    jobs.py         jobs that survive a restart (SQLite)
    job_runner.py   threads that work through them, and tell webhooks
    documents.py    what /docs says of request bodies
    page/           the page at /ui

None of them imports the handler: `server.py` brings the two together.
"""
