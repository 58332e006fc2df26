"""Many recordings, or one very long one, anywhere: what the Flyte workflow and the Ray job have in common."""
