"""The parts of `python -m scripts.deploy_endpoint`: the request, the dry run, the waiting, the errors."""
