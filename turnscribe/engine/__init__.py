"""The fast decoder: Whisper in plain PyTorch, read from the weights of a loaded transformers model.

    together.py         Together: callers that come at once take turns in decoding for all
    shared_decoding.py  SharedDecoding: a step of that; who joins, how many rows, what happens when it fails
    recordings.py       Recording: what a caller brings; where it stands
    engine.py           Engine: makes batches and decodings of one Whisper, and encodes
    decode.py           Decoding: the loop that takes windows, encodes, steps, judges and refills rows
    rows.py             Rows: the windows in a batch's rows, and their attempts
    attempts.py         Prompt and Attempt: what a row begins with and what it was decoded to
    batch.py            Batch: rows of tokens, plain steps and speculative rounds
    draft.py            Draft: what proposes tokens in those rounds
    draft_length.py     how many tokens to propose
    rules.py            which token may come next, as masks
    models.py           Models: the parts of a loaded Whisper and its assistant
    model.py            Encoder and Decoder: the passes themselves
    cache.py            keys and values with a length for every row
    weights.py          where each weight of a transformers model goes
    linear.py           one matrix product, packed for the CPU
    mel.py              waveforms to log-mel features
    graphs.py           CUDA graphs, with their off switch
    proof.py            what is fast on a GPU, held against its slow twin when the engine is loaded

`asr/engine_backend.py` is the ASR backend above all this: windows, languages, fallback, words.

Every fast path has a slow twin: `model.generate(num_beams=1)`, `Rules.process`, `WhisperFeatureExtractor`.
"""
