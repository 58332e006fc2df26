"""Many recordings on a Ray cluster: `python -m scripts.ray`, and its parts.

The name is the platform's: inside, `import ray` is Ray itself, so run these as modules, never by their files' paths.
"""
