"""Several devices behind one port: a process for each, with models of its own, and the server's process before them.

choice.py     which devices, and the environment of each one's process
pipeline.py   what the server has in place of a `Pipeline`: hands requests to the least busy device
device.py     one device's process: started, listened to, replaced when it ends
program.py    what runs in that process
channel.py    what both say to each other, and how a recording comes across

The server's process keeps HTTP, the queue and the jobs, and runs no model. A request that was in a process when it
ended is begun anew in another, once; its listener does not hear again what it has heard. The processes end with the
server, however that ends: each has one end of a socket pair, and leaves when the other one is closed.
"""
