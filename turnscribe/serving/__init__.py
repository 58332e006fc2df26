"""The pipeline behind HTTP: the endpoint's own contract, OpenAI's transcription API, jobs, a page, health, metrics.

server.py         the command: settings, uvicorn, how it ends
app.py            the application: which routes and which middleware, and what starts and ends with them
loading.py        the pipeline, loaded and warmed up while the server already answers
devices/          several devices, with a process for each, in the place of one pipeline
service.py        what all routes share: the pipeline, the workers, the metrics
workers.py        a bounded number of requests at a time, and a bounded queue
bodies.py         a request's body, read as a recording and its parameters
openai_form.py    OpenAI's transcription form as a request
openai_answer.py  the transcript in OpenAI's formats and events
problems.py       what can go wrong over HTTP, its status and its two JSON shapes
documents.py      what /docs says of request bodies
metrics.py        what /metrics shows
middleware/       what every request passes: API keys, a limit on bodies, log and metrics
routes/           the endpoint's own contract, OpenAI's routes, jobs, the page
jobs/             jobs that survive a restart (SQLite), the threads that work through them, webhooks
page/             the page at /ui
"""
