"""Amazon SageMaker: `inference.py` for its containers, `package.py` for the archive they run, and what deploys it."""
