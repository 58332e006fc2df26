"""OpenAI's realtime transcription sessions over a WebSocket.

`protocol.py` is what is said, `options.py` what a client may set, `connection.py` who says it, `sessions.py` which
sessions there are and what becomes of them. What is heard is `turnscribe.live`'s.
"""
