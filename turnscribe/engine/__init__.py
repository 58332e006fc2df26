"""The fast decoder: Whisper in plain PyTorch, read from the weights of a loaded transformers model.

    backend.py    EngineAsr, the `asr.Asr` over everything below: windows, fallback, words
    together.py   Together: requests that arrive together decode in one batch
    recordings.py what it decodes: recordings and their windows
    decode.py     Decoding: rows that share passes; greedy steps, speculative rounds, refilled slots
    batch.py      Batch: rows of tokens, plain steps and speculative rounds
    rules.py      which token may come next, as masks
    model.py      Encoder and Decoder: the passes themselves
    cache.py      keys and values with a length for every row
    weights.py    where each weight of a transformers model goes
    linear.py     one matrix product, packed for the CPU
    mel.py        waveforms to log-mel features
    graphs.py     CUDA graphs, with their off switch

Every fast path has a slow twin: `model.generate(num_beams=1)`, `Rules.process`, `WhisperFeatureExtractor`.
"""
